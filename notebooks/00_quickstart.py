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
# ClipBERT samples a few short clips of a video, lets each answer on its own, and pools the answers.
# The bundled model `real` is a small one (see `clipbert/models/real/README.md`), not the paper's.

# %%
import math
from pathlib import Path

import matplotlib.pyplot as plt

from clipbert import Predictor
from clipbert.data.footage import demo_videos

# %% [markdown]
# Three seconds of a rocket, three of a cat, three of a cup of coffee.

# %%
reel = demo_videos(Path("../cache/footage"))[1]
predictor = Predictor.from_pretrained("real")
video = predictor.encode(reel.path, num_clips=8)
prediction = predictor.answer(video, reel.question)
print(reel.question, "->", prediction.answer, f"({float(prediction.scores.max()):.0%})")

# %% [markdown]
# Each clip's contribution is its exact Shapley value, in nats; the values sum to log p(answer) + log K.

# %%
figure, axes = plt.subplots(figsize=(6.9, 2.2))
middles = video.spans.mean(dim=1)
axes.bar(middles, prediction.contribution, width=0.6, color=["#0072B2" if c > 0 else "#D55E00" for c in prediction.contribution.tolist()])
axes.axhline(0, color="black", linewidth=0.8)
axes.set(xlabel="middle of the clip (s)", ylabel="contribution (nats)", title=f"{reel.question} {prediction.answer} (model {predictor.model.name})")
plt.tight_layout()

# %%
total = float(prediction.contribution.sum())
assert abs(total - (math.log(float(prediction.scores.max())) + math.log(len(prediction.candidates)))) < 1e-3
