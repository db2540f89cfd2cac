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
# # Table 2: do we need densely sampled frames?
#
# **Claim of the paper.** Two frames of a one-second clip are as good as sixteen, and the mean over frames beats a 3D convolution before it.
#
# Why might it? The mean adds no parameter to learn on 7,000 videos; but it cannot see the order of frames.

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
import random
import time
from itertools import count, islice
from pathlib import Path

import torch

from clipbert.backbone import TemporalFusion
from clipbert.comparison import read_results
from clipbert.conclusions import conclusions, findings
from clipbert.config import TEMPORAL_FUSIONS
from clipbert.data.questions import direction
from clipbert.data.stories import make_short
from clipbert.data.story_video import write_video
from clipbert.edits import footage, shuffled_frames
from clipbert.paper import table_part
from clipbert.results import committed_results
from clipbert.trends import read_rows
from clipbert.viz.notebook import compare_with_paper, environment, load, show, table
from clipbert.viz.paper_tables import finding_rows, paper_lines

torch.manual_seed(SEED)
part, results = table_part("2"), read_results(committed_results())

# %%
compare_with_paper(part, results, RESULTS_DIR)

# %%
show(paper_lines(part, "R1"), RESULTS_DIR, "table2-r1")
show(paper_lines(part, "Accuracy"), RESULTS_DIR, "table2-accuracy")

# %% [markdown]
# ## The mechanism, on untrained fusions
#
# Parameters at the paper's width (768), and whether the fused grid changes when the frames of a clip are shuffled.

# %%
SIZE = 64
grid = torch.randn(1, 2, 4, 7, 7, SIZE)  # one video, two clips, four frames
shuffled = grid[:, :, [2, 0, 3, 1]]


def milliseconds(fusion: TemporalFusion, num_frames: int) -> float:
    frames, seconds = torch.randn(1, 4, num_frames, 7, 7, SIZE), []
    for _ in range(6):
        start = time.perf_counter()
        fusion(frames)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds[1:])


# %%
mechanism = []
with torch.no_grad():
    for kind in TEMPORAL_FUSIONS:
        fusion, wide = TemporalFusion(kind, SIZE), TemporalFusion(kind, 768)
        sees_order = not torch.allclose(fusion(grid), fusion(shuffled), atol=1e-5)
        row = {"fusion": kind, "parameters (million)": sum(p.numel() for p in wide.parameters()) / 1e6, "sees the order of frames": sees_order}
        mechanism.append(row | {"ms at T=2": milliseconds(fusion, 2), "ms at T=16": milliseconds(fusion, 16)})
table(mechanism, f"ms: 4 clips of 7 x 7 cells, width {SIZE}, this CPU, fastest of 5 passes")

# %% [markdown]
# ## A question that needs the order: which way does it slide?
#
# The bundled model `synthetic` fuses its four frames with a 3D convolution. Short videos drawn by code, four clips each, none of which it was trained
# on: the answer with the frames in order, and with the frames of each clip shuffled. To a mean of frames both columns are the same input.

# %%
predictor, folder = load("synthetic", DEVICE), Path("../cache/slides")
folder.mkdir(parents=True, exist_ok=True)
sliding = (short for n in count() if (short := make_short(7, "test", n)).scenes[0].kind == "slide")
asked = []
for number, story in enumerate(islice(sliding, 24 if MODE == "smoke" else 200)):
    path, (question,) = folder / f"{number:03}.mp4", direction(story, random.Random(SEED))
    write_video(story, path)
    clips = footage(predictor, path, num_clips=4)
    answers = [predictor.answer(shown.encode(predictor), question["question"]).answer for shown in (clips, shuffled_frames(clips, SEED))]
    asked.append({"question": question["question"], "answer": question["answer"], "in order": answers[0], "shuffled": answers[1]})
right = {column: sum(row[column] == row["answer"] for row in asked) for column in ("in order", "shuffled")}
table(asked[:8], f"the first 8 of {len(asked)}; right in order: {right['in order']}, with frames shuffled: {right['shuffled']}")

# %% [markdown]
# The runs of ours above, by what is asked. `direction` needs the order, `what` a motion, `color` and `location` one frame.

# %%
KINDS = ("direction", "what", "color", "location")
kinds = []
for run in read_rows(committed_results()):
    for cell in (cell for cell in run["paper_cells"] if cell["table"] == "2"):
        (read,) = [row for row in run["measured"][0]["rows"] if (row["num_clips"], row["aggregation"]) == (1, "mean")]
        percents = {kind: round(100 * read[f"accuracy/{kind}"], 1) for kind in KINDS}
        kinds.append({"M": cell["row"][0], "T": cell["row"][1], "seed": run["seed"], "all": round(cell["value"], 1)} | percents)
table(kinds, "accuracy (%) by kind of question; 13 of the 389 ask for a direction, so a single right answer is 7.7 points")

# %% [markdown]
# ## What speaks for and against the second conclusion

# %%
table(finding_rows(findings(conclusions()[1], results)), conclusions()[1].statement)

# %%
assert [row["sees the order of frames"] for row in mechanism] == [False, True, True]
assert right["in order"] >= 0.9 * len(asked) and right["shuffled"] <= 0.7 * len(asked)
assert mechanism[0]["parameters (million)"] == 0 and mechanism[1]["parameters (million)"] > mechanism[2]["parameters (million)"] > 7
for size in ("2", "16"):
    assert part.cell("R1", "mean pooling", size).value > part.cell("R1", "Conv3D", size).value > part.cell("R1", "Conv(2+1)D", size).value

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: Table 2; no run of ours at full size. The original code has no 3D fusion, so widths and activations of ours are our choice.
# - **Method**: the paper's cells; untrained fusions for the mechanism, timed on this machine; a trained Conv3D asked about motion, in order and
#   shuffled.
# - **Result**: in the paper the order mean > Conv3D > Conv(2+1)D holds at both T, though of the four differences in R@1 only one exceeds the noise.
#   The mean is blind to order by construction: "2 frames suffice" is a statement about data sets that hardly ask for order, not about video.
#   Where a question asks for it, a trained Conv3D answers it and loses the answer when its frames are shuffled; to a mean both are the same clip.
#   Our shorts cannot tell (mean of three seeds): 55.9 % for two frames and 57.8 for sixteen, by Conv3D 55.2 and 56.9, on 389 questions with a
#   margin of 7.
# - **Easy / difficult**: the videos are drawn by code; the rows of ours train the fusion for 200 updates, which is little for a 3D convolution.

# %%
environment(MODE, DEVICE, SEED)
