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
# # Sparse sampling on ViLT or CLIP, in five lines
#
# ClipBERT is a recipe: score a few sparsely sampled clips, pool the scores. The model in the middle can be today's:
# `Predictor.from_pretrained("hf:NAME_OR_DIR")` reads CLIP, SigLIP, ViLT, BLIP and what else `docs/models.md` lists.
#
# Set `CLIPBERT_HF_MODEL` to a folder or a hub name of a ViLT that answers questions, such as `dandelin/vilt-b32-finetuned-vqa`.
# **Without it, this notebook builds a tiny ViLT with random weights: its answers mean nothing, and show only how things are called.**

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
import math
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import transformers

from clipbert import Predictor, attribute
from clipbert.data.footage import demo_videos
from clipbert.viz.notebook import environment

transformers.utils.logging.disable_progress_bar()
name = os.environ.get("CLIPBERT_HF_MODEL")

# %%
if name is None:
    folder, pieces = tempfile.mkdtemp(), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", "what", "animal", "is", "it"]
    answers = dict(enumerate(("cat", "dog", "coffee", "rocket")))
    config = transformers.ViltConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=96, patch_size=32,
        vocab_size=len(pieces), max_position_embeddings=24, id2label=answers, label2id={answer: j for j, answer in answers.items()},
    )  # fmt: skip
    torch.manual_seed(SEED)
    transformers.ViltForQuestionAnswering(config).save_pretrained(folder)
    transformers.ViltImageProcessorPil(size={"shortest_edge": 96}).save_pretrained(folder)
    transformers.BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, model_max_length=24).save_pretrained(folder)
    name = folder
print("a model named by you" if "CLIPBERT_HF_MODEL" in os.environ else "a tiny ViLT with RANDOM weights: its answers mean nothing")

# %% [markdown]
# The five lines. Three seconds of a rocket, three of a cat, three of a cup of coffee; sixteen clips of one frame.

# %%
reel = demo_videos(Path("../cache/footage"))[1]
predictor = Predictor.from_pretrained(f"hf:{name}", device=DEVICE)
video = predictor.encode(reel.path, num_clips=16)
prediction = predictor.answer(video, "what animal is it?")
print(prediction.answer, f"{float(prediction.scores.max()):.0%}", "of", prediction.candidates[:4])

# %% [markdown]
# The same explorer as with ClipBERT: which clips drove the answer (exact Shapley values, in nats) ...

# %%
figure, axes = plt.subplots(figsize=(6.9, 2.2))
axes.bar(video.spans.mean(dim=1), prediction.contribution, width=0.4)
axes.axhline(0, color="black", linewidth=0.8)
axes.set(xlabel="middle of the clip (s)", ylabel="contribution (nats)", title=f"{prediction.answer} ({type(predictor.model.model).__name__})")
plt.tight_layout()

# %% [markdown]
# ... which patches of a clip's frame, by masking each in attention ...

# %%
found = attribute(predictor, video, "what animal is it?", method="cell_occlusion", clips=[int(prediction.contribution.argmax())])
figure, axes = plt.subplots(figsize=(3.4, 2.4))
axes.imshow(found.cells[0], cmap="RdBu_r", vmin=-float(found.cells.abs().max()), vmax=float(found.cells.abs().max()))
axes.set(title="loss without the patch (nats)", xticks=[], yticks=[])
plt.tight_layout()

# %% [markdown]
# ... and what more clips change.

# %%
rows, note = predictor.sweep(reel.path, "what animal is it?")
print(note)
for row in rows:
    if row.aggregation == "lse":
        print(f"N_test {row.num_clips:2}: {row.answer} {row.score:.0%}")

# %%
score = float(prediction.scores.max())
assert abs(float(prediction.contribution.sum()) - math.log(score * len(prediction.candidates))) < 1e-3  # the clips' shares make the whole
assert found.cells.abs().max() > 0
assert {row.num_clips for row in rows} == {1, 2, 4, 8, 16}

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: any model of transformers that scores one clip and one text; here one question about one video.
# - **Method**: `encode`, `answer`, `attribute`, `sweep`, as with ClipBERT.
# - **Result**: pooling, exact Shapley values of clips, patches and the N_test sweep need nothing of a model but clip scores and an attention mask.
# - **Easy / difficult**: a model trained on single images was never asked to pool; which aggregation suits it has to be measured.

# %%
environment(MODE, DEVICE, SEED)
