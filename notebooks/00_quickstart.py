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
# # Quickstart: which clips drove the answer?
#
# ClipBERT samples a few short clips of a video, lets each answer on its own, and pools the answers. The bundled model `real` is a small one (see
# `clipbert/models/real/README.md`), not the paper's.

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
import math
from pathlib import Path

from clipbert.data.footage import demo_videos
from clipbert.viz import figures
from clipbert.viz.notebook import environment, load, show
from clipbert.viz.widgets import Explorer

# %% [markdown]
# Three seconds of a rocket, three of a cat, three of a cup of coffee. The video is decoded and read by the CNN once; then ask as often as you like.

# %%
videos = demo_videos(Path("../cache/footage"))
reel = videos[1]
predictor = load("real", DEVICE)
video = predictor.encode(reel.path, num_clips=8)
prediction = predictor.answer(video, reel.question)
print(reel.question, "->", prediction.answer, f"({float(prediction.scores.max()):.0%})")

# %% [markdown]
# Each clip's contribution is its exact Shapley value, in nats; the values sum to log p(answer) + log K.

# %%
show(figures.clip_contributions(prediction, video.spans, model="real", duration=video.duration), RESULTS_DIR, "quickstart-clips")

# %% [markdown]
# ## The explorer
#
# The same question with all that decides its answer, to be changed by hand: video, question, clips and frames, policy, seed, pooling, and which
# method explains it. Below the controls stand a picture and a table, renewed with every answer; they stay when the kernel is gone.
# `ex.session`, `ex.result` and `ex.attribution` are plain Python objects; `ex.save("my.zip")` writes a session that the app opens, and
# `Explorer.load` opens one that the app wrote. `ex.timeline()` in a cell of its own is the app's clip timeline: a click looks into a clip.

# %%
names = {clip.name: clip.path for clip in (reel, videos[0], videos[2])}
ex = Explorer(predictor, names, reel.question, num_clips=8, method="cell_occlusion")
ex

# %% [markdown]
# A control can be set from code too; `wait` returns once it is answered.

# %%
ex.controls["method"].value = "clip_shapley"
assert ex.wait()
print(ex.session.question, "->", ex.result.answer, "|", ex.attribution.method, "|", ex.to_app())

# %%
total = float(prediction.contribution.sum())
assert prediction.answer == ex.result.answer == "cat"
assert abs(total - (math.log(float(prediction.scores.max())) + math.log(len(prediction.candidates)))) < 1e-3
assert 3.0 <= float(video.spans[int(prediction.contribution.argmax())].mean()) <= 6.0  # the cat is on screen from second 3 to 6

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: one video of photos that pan, one question, a small model.
# - **Method**: eight clips of two frames by the policy `paper`, pooled by LogSumExp.
# - **Result**: the clips that show the cat made the answer.
# - **Limits**: a confident answer need not be right: see 23_failure_gallery.

# %%
environment(MODE, DEVICE, SEED)
