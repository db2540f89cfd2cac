# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Table 5: where should the weights start?
#
# **Claim of the paper.** Image-text pre-training is the best start; a CNN with random weights hardly learns at all.
#
# R@1 falls from 10.2 to 0.3 with random weights: on 1,000 videos 0.1 is chance.

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
from pathlib import Path

import torch
from torch.nn.functional import normalize

from clipbert import ClipBertConfig, ClipBertForSequenceClassification, ClipBertProcessor, Predictor
from clipbert.bundled import model_folder
from clipbert.comparison import read_results
from clipbert.conclusions import conclusions, findings
from clipbert.data.footage import demo_videos
from clipbert.paper import table_part
from clipbert.results import committed_results
from clipbert.viz.notebook import compare_with_paper, environment, load, show, table
from clipbert.viz.paper_tables import finding_rows, paper_bars

part, results = table_part("5"), read_results(committed_results())

# %%
compare_with_paper(part, results, RESULTS_DIR)

# %%
show(paper_bars(part, "R1"), RESULTS_DIR, "table5-r1")
show(paper_bars(part, "Accuracy"), RESULTS_DIR, "table5-accuracy")

# %% [markdown]
# ## The mechanism: what a random CNN sees
#
# The same reel (rocket, cat, coffee; three clips, three, two) through the CNN of the bundled model `real`, and through the same CNN with random
# weights. How much more alike are two clips of one scene than two clips of different scenes?

# %%
torch.manual_seed(SEED)
config, processor = ClipBertConfig.from_pretrained(model_folder("real")), ClipBertProcessor.from_pretrained(model_folder("real"))
untrained = Predictor(ClipBertForSequenceClassification(config).eval(), processor, name="real, random weights", device=DEVICE)
reel = demo_videos(Path("../cache/footage"))[1]
scene = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
alike = scene[:, None] == scene[None]
rows = []
for predictor in (load("real", DEVICE), untrained):
    clips = normalize(predictor.encode(reel.path, num_clips=8).features.mean(dim=(1, 2, 3)).float(), dim=1)
    cosine = (clips @ clips.T)[~torch.eye(8, dtype=torch.bool)]
    same = alike[~torch.eye(8, dtype=torch.bool)]
    row = {"weights": predictor.model.name, "same scene": float(cosine[same].mean()), "other scene": float(cosine[~same].mean())}
    rows.append(row | {"gap": row["same scene"] - row["other scene"]})
table(rows, "mean cosine similarity of two clips' mean features")

# %% [markdown]
# ## What speaks for and against the fifth conclusion

# %%
table(finding_rows(findings(conclusions()[4], results)), conclusions()[4].statement)

# %%
assert rows[0]["gap"] > 2 * rows[1]["gap"]  # to a random CNN all scenes look alike
assert all(f.verdict == "holds" for f in findings(conclusions()[4]))
random_r1 = part.cell("R1", "random", "random")
assert random_r1.value == 0.3 and random_r1.num_examples == 1000

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: Table 5; one mechanism on one reel. Our rows above: shorts drawn by code, where two lessons of questions about images stand for
#   image-text pre-training; and pre-training on photos, then retrieval and questions on real clips (`train/configs/ablate_real.yaml`), where it ran.
# - **Method**: the paper's cells; features of trained and random weights of one architecture.
# - **Result**: of the six conclusions this is the one that the paper's own numbers carry best: all differences exceed the noise of 1,000 queries.
#   A random CNN gives nearly the same features whatever is shown, so a small data set has little to learn from. Our shorts agree: 44.0 % from random
#   weights, 56.2 after the lessons on images (mean of three seeds), more than the margin of 7. On real clips (three seeds)
#   R@1 of 36 is 2.4 % at random, 13.0 from ImageNet and MiniLM, 19.4 after pre-training on 1,018 photos: the last step, in two seeds of three, is
#   within its margin of 17. Questions gain as good as nothing from it (67.2 and 67.8 %).
# - **Easy / difficult**: TSN and ImageNet weights are the user's to fetch (`model.resnet`); none ships here.

# %%
environment(MODE, DEVICE, SEED)
