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
# # Which attribution method finds the evidence?
#
# Synthetic videos know where their answer is seen. A method is right where it points at the planted clip, frame, cell or word; and a random map
# tells what pointing is worth. 210 questions about 42 held-out videos (`benchmarks/attribution_leaderboard.py`).

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
import json

from clipbert.results import committed_results
from clipbert.viz.chart import Axis, Chart, Points
from clipbert.viz.notebook import environment, show, table

path = sorted(committed_results().glob("attribution-leaderboard-*.json"))[-1]
board = json.loads(path.read_text())
pointing = [row for row in board["scores"] if row["group"] == "all" and row["score"] == "pointing"]
columns = ("level", "method", "questions", "value", "low", "high", "random", "best")
rows = [{name: row[name] for name in columns} for row in pointing]
table(rows, f"pointing: the share of questions whose highest value lies on the evidence; model {board['about']['model']}, {path.name}")

# %%
percent = [{**row, "percent": 100 * row["value"], "whose": row["level"]} for row in rows]
percent += [{**row, "percent": 100 * row["random"], "whose": "random map"} for row in rows]
levels = tuple(dict.fromkeys(row["level"] for row in rows))
mark = Points(percent, "percent", "method", "{whose}, {method}: {percent:.1f} %", "whose")
order, about = tuple(row["method"] for row in rows), "share of questions whose highest value lies on the evidence; intervals in the table"
axes = Axis("right (%)", limits=(0, 103)), Axis("", "category", order)
chart = Chart("Methods by planted evidence", board["about"]["model"], about, percent, *axes, (mark,), (*levels, "random map"))
show(chart, RESULTS_DIR, "leaderboard")

# %% [markdown]
# ## All scores

# %%
scores = [row for row in board["scores"] if row["group"] == "all" and row["score"] != "pointing"]
table([{name: row[name] for name in ("level", "method", "score", "value", "low", "high", "random", "best")} for row in scores])

# %% [markdown]
# ## Does the model's score follow the map? Deletion and insertion beside random orders

# %%
columns = ("level", "method", "questions", "deletion_passed", "insertion_passed", "beats_random")
table([{name: row[name] for name in columns} for row in board["faithfulness"]], "shares of questions; both tests at p <= 0.05")

# %%
best = {level: max((row for row in rows if row["level"] == level), key=lambda row: row["value"]) for level in levels}
for level, row in best.items():
    print(f"{level}: {row['method']}, {row['value']:.1%} [{row['low']:.1%}, {row['high']:.1%}], random {row['random']:.1%}")
    print(f"  {'better than chance' if row['low'] > row['random'] else 'NOT better than chance'}")
below = [row["method"] for row in rows if row["low"] <= row["random"]]
print("not better than random by pointing:", ", ".join(below) or "none")
assert all(best[level]["low"] > best[level]["random"] for level in ("clips", "frames", "cells"))
assert len(pointing) == len(board["seconds"])

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: one model (`synthetic`), videos drawn by code. What finds a coloured square need not find a dog.
# - **Method**: pointing game, energy in the box, temporal overlap; bootstrap over videos; the random map is computed, not sampled.
# - **Result**: on each level some method beats chance clearly, of words only leaving one out (44.7 % [38.3, 51.0] against 25.1 % by chance): the
#   words that name the evidence are often not the ones that move this model's score. Methods that do not beat chance are named.
# - **Easy / difficult**: pointing and faithfulness can disagree: a map may lie on the evidence while the score hardly follows it.

# %%
environment(MODE, DEVICE, SEED)
