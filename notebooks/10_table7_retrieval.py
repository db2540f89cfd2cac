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
# # Table 7: text-to-video retrieval
#
# **Claim of the paper.** With a few clips ClipBERT beats models that read whole videos' features: by 3.0 R@1 (4×1) and 5.2 (8×2) over HERO on
# MSRVTT.
#
# Grey rows, in brackets below, use speech or other features.

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
import json
from pathlib import Path

import torch

from clipbert import VideoIndex
from clipbert.comparison import read_results
from clipbert.data.footage import demo_videos
from clipbert.metrics import binomial_interval, median_rank, recall_at
from clipbert.paper import paper_table
from clipbert.results import committed_results
from clipbert.viz import figures
from clipbert.viz.figures import Ranked
from clipbert.viz.notebook import compare_with_paper, environment, load, show, table
from clipbert.viz.paper_tables import paper_bars

results = read_results(committed_results())
for part in paper_table(7):
    compare_with_paper(part, results, RESULTS_DIR)

# %%
for part in paper_table(7):
    show(paper_bars(part, "R1"), RESULTS_DIR, f"table{part.name}-r1")

# %% [markdown]
# ## The metrics, on cases small enough to check by hand
#
# Four queries over four videos. A tie counts as drawn in random order: half a hit where two share the first place.

# %%
right = torch.eye(4, dtype=torch.bool)
perfect, reverse, tied = torch.eye(4), 1 - torch.eye(4), torch.ones(4, 4)
cases = []
for name, scores in (("perfect", perfect), ("always last", reverse), ("all tied", tied)):
    cases.append({"case": name, "R@1": recall_at(scores, right, 1), "R@2": recall_at(scores, right, 2), "median rank": median_rank(scores, right)})
table(cases)

# %% [markdown]
# ## Live: three real clips and the bundled model

# %%
videos = demo_videos(Path("../cache/footage"))
index = VideoIndex.build([video.path for video in videos], load("real", DEVICE), num_clips=4)
query = "a man rides a bicycle on a street"
hits = index.search(query)
show(figures.retrieval_ranking([Ranked(Path(h.path).stem, h.score, h.start, h.end) for h in hits], query, model="real"), RESULTS_DIR, "table7-live")

# %% [markdown]
# ## Ours, on other data (never beside the paper's)
#
# `synthetic`: 60 held-out videos drawn by code, one caption each, of the opening scene. (Captions of all scenes: 04_fig4_ntest.)

# %%
path = sorted(committed_results().glob("synthetic-test-*.json"))[-1]
results_of = json.loads(path.read_text())["results"]
name, found = next((name, found) for name, found in results_of.items() if found["task"] == "retrieval")
row = next(row for row in found["rows"] if row["aggregation"] == "lse" and row["num_clips"] == max(r["num_clips"] for r in found["rows"]))
recall = row["text_to_video/recall_at_1"]
low, high = binomial_interval(round(recall * found["num_examples"]), found["num_examples"])
told = {"data": name, "queries": found["num_examples"], "N_test": row["num_clips"], "R@1 (%)": 100 * recall}
table([told | {"95 %": f"{100 * low:.0f} to {100 * high:.0f}", "median rank": row["text_to_video/median_rank"]}])

# %%
assert cases == [
    {"case": "perfect", "R@1": 1.0, "R@2": 1.0, "median rank": 1.0},
    {"case": "always last", "R@1": 0.0, "R@2": 0.0, "median rank": 4.0},
    {"case": "all tied", "R@1": 0.25, "R@2": 0.5, "median rank": 2.5},
]
assert Path(hits[0].path).stem == "bikes"
assert recall > 1 / found["num_examples"]

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: Table 7 as printed; no full-size run of ours. Live retrieval over three clips shows the path, not a number.
# - **Method**: `Predictor.match` over an index; recall in expectation over ties; one caption a query.
# - **Result**: the paper's lead over HERO at 8×2 (22.0 to 16.8) is beyond the noise of 1,000 queries; that of 4×1 (19.8 to 16.8) is at its edge.
# - **Easy / difficult**: a cross-encoder reads every video for every query; converted checkpoints of the original give its scores (`clipbert
#   convert`).

# %%
environment(MODE, DEVICE, SEED)
