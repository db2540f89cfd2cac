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
# # Your own videos and questions
#
# A folder of videos and a file of lines with `video`, `question` and `answer` are a data set. Check it, ask a model all of it, look at what is wrong,
# and train on it. (Your own model: 14_any_per_clip_model. A format of your own: docs/extend.md.)

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
import json
import shutil
from pathlib import Path

from clipbert.data.check import check_dataset
from clipbert.data.examples import read_examples
from clipbert.data.footage import demo_videos
from clipbert.data.video_store import open_store
from clipbert.evaluate import evaluate
from clipbert.metrics import binomial_interval
from clipbert.viz.notebook import environment, load, table

# %% [markdown]
# ## Three videos, eight questions
#
# Put your own here. One line names a video that is not there, as happens.

# %%
folder = Path(RESULTS_DIR) / "mine"
folder.mkdir(parents=True, exist_ok=True)
for clip in demo_videos(Path("../cache/footage")):
    shutil.copy(clip.path, folder / f"{clip.name}{clip.path.suffix}")
ASKED = (
    ("street", "what is the man riding?", "bike"),
    ("street", "how many wheels does it have?", "two"),
    ("street", "is the man on a horse?", "no"),
    ("reel", "what animal is it?", "cat"),
    ("reel", "what color is the cup?", "white"),
    ("car", "what is the man wearing?", "suit"),
    ("car", "what is the man doing?", "talking"),
    ("party", "who is it?", "man"),
)
lines = [json.dumps(dict(zip(("video", "question", "answer"), row, strict=True))) for row in ASKED]
(folder / "questions.jsonl").write_text("\n".join(lines) + "\n")
(folder / "mine.json").write_text(json.dumps({"videos": ".", "test": [{"annotations": "questions.jsonl"}]}))
print(sorted(path.name for path in folder.iterdir()))

# %% [markdown]
# ## Check it before anything runs (`clipbert data check mine.json`)

# %%
report = check_dataset(folder / "mine.json")
print("\n".join(line.replace(f"{folder.resolve()}/", "") for line in report.lines()))

# %% [markdown]
# ## Ask a model all of it (`train/evaluate.py`)
#
# Every N_test and aggregation from one pass over each video. Exact match is strict: "a suit" is not "suit".

# %%
(folder / "questions.jsonl").write_text("\n".join(line for line in lines if '"party"' not in line) + "\n")
predictor, examples, store = load("real", DEVICE), read_examples(folder / "questions.jsonl"), open_store(folder)
found = evaluate(predictor, examples, store, "qa", sizes=(1, 4, 8))
rows = []
for row in found:
    right = round(row.metrics["accuracy"] * len(examples))
    low, high = binomial_interval(right, len(examples))
    told = {"N_test": row.num_clips, "aggregation": row.aggregation, "right": f"{right} of {len(examples)}"}
    rows.append(told | {"accuracy (%)": round(100 * row.metrics["accuracy"], 1), "95 %": f"{100 * low:.0f} to {100 * high:.0f}"})
table(rows, "model real, which never saw these questions")

# %% [markdown]
# ## What it gets wrong, and whether an answer is in its vocabulary at all
#
# An answer outside the vocabulary can never be given: that is where training on your own data begins.

# %%
answers = []
for example in examples:
    with store.file(example.video) as path:
        given = predictor.answer(predictor.encode(path, num_clips=8), example.question)
    known = example.answer in given.candidates
    told = {"video": example.video, "question": example.question, "answer": example.answer, "the model": given.answer, "sure": given.sure}
    answers.append(told | {"right": given.answer == example.answer, "in its vocabulary": known})
table(answers)

# %% [markdown]
# ## Train on it
#
# Fine-tuning starts from any saved model; `python train/train.py --config mine.yaml` reads:
#
#     model: {start: clipbert/models/real}
#     train:
#     - {task: qa, annotations: questions.jsonl, videos: ., vocabulary: answers.json}
#     optimizer: {batch_size: 8, lr: 1e-4}
#     clips: {num_clips: 2, num_frames: 2, policy: random}
#     run: {output: runs/mine, max_steps: 200}
#
# `answers.json` numbers your answers: `{"bike": 0, "cat": 1, ...}`. `train/configs/real_finetune.yaml` is a worked example, `train/README.md` has
# every setting.

# %%
missing = [problem for problem in report.problems if problem.loses]
best = max(round(row.metrics["accuracy"] * len(examples)) for row in found if row.num_clips == 8)
assert len(missing) == 1 and "party" in missing[0].message
assert len(examples) == 7 and len(found) == 9 and sum(row["right"] for row in answers) >= 3
assert best >= sum(row["right"] for row in answers)  # lse is among the three
assert all(row["in its vocabulary"] for row in answers if row["right"])

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: seven questions on three clips; far too few for a number, as the intervals say. It is the way that counts.
# - **Method**: JSON lines, one check, one evaluation.
# - **Result**: a missing video is found before anything runs, and stops an evaluation instead of being replaced by another, as the original's loader
#   does.
# - **Easy / difficult**: exact match undercounts synonyms ("bike", "bicycle"); write the answers as the vocabulary has them.

# %%
environment(MODE, DEVICE, SEED)
