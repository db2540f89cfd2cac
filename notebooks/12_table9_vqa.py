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
# # Table 9: image questions with a video model
#
# **Claim of the paper.** Since its CNN is a 2D one, ClipBERT answers questions about images too: VQA 2.0 at 69.08 (test-dev) with cheap grid
# features.
#
# An image is a video of one frame: that must not be a manner of speaking.

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from clipbert.comparison import read_results
from clipbert.data.footage import photo
from clipbert.paper import paper_table
from clipbert.results import committed_results
from clipbert.viz import figures
from clipbert.viz.notebook import compare_with_paper, environment, load, show, table
from clipbert.viz.paper_tables import paper_bars

(part,), results = paper_table(9), read_results(committed_results())
compare_with_paper(part, results, RESULTS_DIR)

# %%
show(paper_bars(part, "test-dev"), RESULTS_DIR, "table9-test-dev")

# %% [markdown]
# ## A photo, and the same photo as a one-frame video
#
# Written without loss (FFV1, RGB), so that both have the same pixels.

# %%
image = Image.open(photo("chelsea.png")).convert("RGB").resize((320, 240))
folder = Path(RESULTS_DIR)
folder.mkdir(parents=True, exist_ok=True)
with av.open(str(folder / "cat.mkv"), "w") as file:
    stream = file.add_stream("ffv1", rate=1)
    stream.width, stream.height, stream.pix_fmt = 320, 240, "bgr0"
    file.mux(stream.encode(av.VideoFrame.from_ndarray(np.array(image), format="rgb24")))
    file.mux(stream.encode())

# %%
predictor, question = load("real", DEVICE), "what animal is it?"
as_image = predictor.answer(predictor.encode(image, num_clips=1, num_frames=1), question)
as_video = predictor.answer(predictor.encode(folder / "cat.mkv", num_clips=1, num_frames=1), question)
difference = float((as_image.clip_logits - as_video.clip_logits).abs().max())
table(
    [{"read as": "image", "answer": as_image.answer}, {"read as": "video", "answer": as_video.answer}],
    f"largest difference of a logit: {difference:.1e}",
)
show(figures.answer_bars(as_image, model="real"), RESULTS_DIR, "table9-cat", width="column")

# %%
assert torch.allclose(as_image.clip_logits, as_video.clip_logits, atol=1e-5)
assert as_image.answer == "cat"

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: Table 9 as printed; one photo for the mechanism. VQA 2.0 has not been run by us (`train/configs/vqa_paper.yaml`,
#   `vqa_official.yaml`).
# - **Method**: the same file as image and as lossless video.
# - **Result**: the logits are the same. Table 9 has one ClipBERT row and no interval, since the split's size is not told.
# - **Easy / difficult**: the paper's comparison mixes grid and region features; the column "feature" says which.

# %%
environment(MODE, DEVICE, SEED)
