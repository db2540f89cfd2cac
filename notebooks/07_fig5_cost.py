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
# # Figure 5: what do clips and frames cost in training?
#
# **Claim of the paper.** Time grows almost linearly with the clips of a step, and memory leaves room for 190 videos with 2 clips but 16 with 16, on
# one V100.
#
# Each point is measured in a process of its own: forward and backward of one step, median of the repeats. A CPU has no fixed memory to fill: there
# bytes a
# video take the place of the largest batch. The paper's model needs a GPU; here a small one of the same shape shows the shape of the curves.

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
import os

from clipbert.cost import measure, predict_cost
from clipbert.cost_panels import fit_line, panels
from clipbert.cost_settings import CostSettings
from clipbert.paper import figure_points
from clipbert.viz import figures
from clipbert.viz.chart import Axis, Chart, Lines
from clipbert.viz.notebook import environment, show, table

SIZES = (1, 2, 4) if MODE == "smoke" else (1, 2, 4, 8, 16)
settings = CostSettings(model="paper" if MODE == "full" else "small", device=DEVICE, warmup=1, repeats=15 if MODE == "smoke" else 30, seed=SEED)
points = list(measure(settings, clips=SIZES, frames=SIZES))
print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; above 1 for each core, milliseconds are too long")

# %%
for panel in panels(points):
    show(figures.cost_panel(panel, model=settings.model), RESULTS_DIR, f"fig5-{panel.letter}", width="column")

# %%
columns = ("num_clips", "num_frames", "milliseconds", "spread", "clips_per_second", "peak_bytes", "device_name", "num_threads", "error")
table(
    [{name: point.row().get(name, point.clips_per_second) for name in columns} for point in points],
    "median of the repeats; spread: between quartiles",
)

# %%
show(figures.cost_breakdown(settings, points, model=settings.model), RESULTS_DIR, "fig5-parts")

# %% [markdown]
# ## Without a clock: FLOPs of the paper's own model
#
# Counted, not measured, so the same on every machine. One clip more is one clip's work more; the intercept is close to nothing.

# %%
clips = (1, 2, 4, 8, 16)
flops = [predict_cost(CostSettings(model="paper", batch_size=1, num_clips=n)).training_flops / 1e9 for n in clips]
fit = fit_line(clips, flops)
counted = [{"N_train": n, "gflop": value, "series": "one training step of one video"} for n, value in zip(clips, flops, strict=True)]
line = Lines(counted, "N_train", "gflop", "series", "N_train = {N_train}\n{gflop:.0f} GFLOP")
axes = Axis("N_train (clips)", ticks=clips), Axis("GFLOP", limits=(0, 1.1 * flops[-1]))
about = f"counted, not measured; T = 1, 448 pixels, 20 tokens; straight line: R² {fit.r_squared:.6f}"
show(
    Chart("FLOPs by N_train", "the paper's sizes", about, counted, *axes, (line,), (counted[0]["series"],)), RESULTS_DIR, "fig5-flops", width="column"
)
table([{"N_train": row["N_train"], "training GFLOP a video": row["gflop"]} for row in counted])

# %% [markdown]
# ## The two batch sizes that the paper's text tells

# %%
told = {int(point.x): point.y for point in figure_points(5)}
ratio = told[2] / told[16]
print(f"N_train 2 to 16: 8 times the clips, {ratio:.1f} times fewer videos ({told[2]:g} to {told[16]:g}): more than in inverse proportion.")
print("Weights and optimizer cannot explain it: what they take leaves less for clips at both sizes. The text does not say what else differs.")

# %%
assert not [point.error for point in points if point.error]
assert fit.r_squared > 0.9999 and abs(fit.intercept) < 0.1 * fit.slope
assert told == {2: 190, 16: 16} and ratio > 8

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: the shape of Figure 5 on a small model and this CPU; the FLOPs of the paper's model. No GPU run yet.
# - **Method**: fresh process for each point, warm-up, median of repeats; FLOPs by PyTorch's counter on the meta device.
# - **Result**: linear in N_train by count, exactly. By the clock only an idle machine shows it: R² in panel (b) says how far to trust the
#   milliseconds
#   above, and where it is low they say nothing but that the machine was busy. 190 videos at 2 clips against 16 at 16 are a factor of 11.9 for 8
#   times the clips.
# - **Easy / difficult**: the paper's own times exist only as a picture.

# %%
environment(MODE, DEVICE, SEED)
