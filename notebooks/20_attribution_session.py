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
# # A session: which clip, which frame, where, which word?
#
# One question about one real video, taken apart level by level, each level with the test that says whether to believe it.
#
# An attribution says which inputs move this model's score; not whether the model is right.

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
from pathlib import Path

from clipbert import attribute
from clipbert.attribution import METHODS
from clipbert.data.footage import demo_videos
from clipbert.faithfulness import faithfulness, rank_agreement
from clipbert.viz import figures
from clipbert.viz.notebook import environment, load, show, table

predictor, reel = load("real", DEVICE), demo_videos(Path("../cache/footage"))[1]
video = predictor.encode(reel.path, num_clips=8)
answer = predictor.answer(video, reel.question)
print(reel.question, "->", answer.answer, f"({float(answer.scores.max()):.0%})")

# %% [markdown]
# ## Clips: exact Shapley values, for free
#
# Every clip has voted by itself, so all 256 coalitions of 8 clips need no further pass of the model. The values sum to the whole.

# %%
clips = attribute(predictor, video, reel.question)
left_out = attribute(predictor, video, reel.question, method="clip_leave_one_out").clips
about = METHODS["clip_shapley"].about
show(figures.clip_values(clips, left_out, video.spans, model="real", duration=video.duration, about=about), RESULTS_DIR, "session-clips")
print(f"sum {float(clips.clips.sum()):.4f} nats, missing from the whole: {clips.gap:.1e}")
best = int(clips.clips.argmax())

# %% [markdown]
# ## "Why not a dog?"
#
# The same values for the log-odds of the answer over another one.

# %%
versus = attribute(predictor, video, reel.question, versus="dog")
table([{"clip": n + 1, "for cat": float(clips.clips[n]), "for cat rather than dog": float(versus.clips[n])} for n in range(8)], versus.value_function)

# %% [markdown]
# ## Frames of the best clip

# %%
frames = attribute(predictor, video, reel.question, method="frame_shapley", clips=[best])
show(figures.frame_values(frames), RESULTS_DIR, "session-frames", width="column")

# %% [markdown]
# ## Cells of its first frame
#
# Two methods side by side, on one frame: what is lost when a cell is masked, and integrated gradients.

# %%
pixels = predictor.clip_frames(reel.path, video, best)[0]
masked = attribute(predictor, video, reel.question, method="cell_occlusion", clips=[best])
integrated = attribute(predictor, video, reel.question, method="cell_integrated_gradients", clips=[best])
show(figures.cell_overlay(masked, pixels), RESULTS_DIR, "session-cells", width="column")
print(f"rank agreement of the two maps: {rank_agreement(masked, integrated):+.2f}; gap of integrated gradients: {integrated.gap:.3f} nats")
print(f"|values| on padding: {masked.on_padding():.1%} by occlusion, {integrated.on_padding():.1%} by integrated gradients")

# %% [markdown]
# ## Is the map true to the model?
#
# Remove and insert cells by their value, and beside that in twenty random orders and in reverse.

# %%
tested = faithfulness(predictor, video, reel.question, masked, num_orders=20, steps=7, seed=SEED)
show(figures.faithfulness_curves(tested, model="real"), RESULTS_DIR, "session-faithfulness")
print(tested.verdict)

# %% [markdown]
# ## Words

# %%
words = attribute(predictor, video, reel.question, method="token_ablation", clips=[best])
show(figures.token_chips(words), RESULTS_DIR, "session-words", width="column")

# %%
assert answer.answer == "cat"
assert 3.0 <= float(video.spans[best].mean()) <= 6.0  # the cat is on screen from second 3 to 6
assert abs(clips.gap) < 1e-4 and abs(frames.gap) < 1e-4
assert float(versus.clips[best]) > 0

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: one video, one model (`real`, a small one). 21_attribution_leaderboard has the methods on 199 questions with planted evidence.
# - **Method**: exact Shapley values of clips and frames; masking and integrated gradients of cells; word pieces taken out one by one.
# - **Result**: the clips that show the cat carry the answer, and the values add up; whether the map of cells may be read is what the verdict above
#   says.
# - **Easy / difficult**: levels are explained one clip at a time; a map that looks plausible can still lose to random orders.

# %%
environment(MODE, DEVICE, SEED)
