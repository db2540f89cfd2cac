"""How often a model is right over a data set at every N_test, video by video, with an interval that says how little a few videos tell."""

import html
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.sweeping import SIZES
from clipbert.sampling_config import AGGREGATIONS, SamplingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from clipbert.data.rows import Example
    from clipbert.data.video_store import VideoFolder
    from clipbert.predict import Predictor
    from clipbert.viz.figures import Chart

SYNTHETIC_VIDEOS, SYNTHETIC_SEED = 12, 4242
FRAMES = (1, 2)  # T of the series
ACCURACY, RECALL = "accuracy", "R@1"
PAPER = {ACCURACY: ("Accuracy", "MSRVTT-QA val"), RECALL: ("R1", "MSRVTT val")}
"""Metric -> its name in the paper's Figure 4, and where the paper measured it."""
Counts = dict[tuple[int, int, str], list[tuple[float, int]]]
"""(T, N_test, aggregation) -> (right, asked) of each video."""


@dataclass(frozen=True)
class DataSet:
    """Questions with answers, or captions, and where their videos lie."""

    name: str
    examples: "tuple[Example, ...]"
    store: "VideoFolder"


@dataclass(frozen=True)
class Scores:
    """What was right so far; recall is known only once every caption has met every video."""

    data_set: str
    model: str
    clip_seconds: float
    planned: int
    done: int = 0
    right: Counts = field(default_factory=dict)
    metric: str = ACCURACY

    def chart(self, how: str) -> "Chart":
        """The metric under one aggregation, a series for each T, and the paper's numbers."""
        from clipbert.metrics import bootstrap_interval
        from clipbert.paper import figure_points
        from clipbert.viz.figures import CurvePoint, PaperPoint, dataset_curve

        points = []
        for (num_frames, size, aggregation), videos in self.right.items():
            if aggregation == how:
                right, asked = [r for r, _ in videos], [a for _, a in videos]
                low, high = bootstrap_interval(right, asked)
                points.append(CurvePoint(size, f"T={num_frames}", 100 * sum(right) / sum(asked), 100 * low, 100 * high))
        name, measured_on = PAPER[self.metric]
        paper = [
            PaperPoint(int(point.x), point.y, f"{measured_on}, {point.series.split(',')[0]}")
            for point in figure_points(4) if point.series.endswith(name)
        ]  # fmt: skip
        about = f"{self.data_set}, {self.done} of {self.planned} videos, {how}, clips of {self.clip_seconds:g} s, bootstrap over videos"
        return dataset_curve(points, metric=self.metric, data_set=about, model=self.model, paper=paper)

    def html(self) -> str:
        """How far it is."""
        asked = sum(a for _, a in next(iter(self.right.values()), []))
        told = f"{asked} {'questions' if self.metric == ACCURACY else 'captions'}" if self.right else "R@1 is known once every video is read"
        return f'<p class="soft" role="status">{html.escape(self.data_set)}: {self.done} of {self.planned} videos, {told}</p>'


def score_stream(predictor: "Predictor", data: DataSet, wanted: SamplingConfig, *, sizes: Sequence[int] = SIZES) -> Iterator[Scores]:
    """The scores after each video.  Raises ValueError for a data set that does not fit the model, VideoError for an unreadable video."""
    from clipbert.data.dataset import group_by_video
    from clipbert.evaluate import evaluate

    groups, length = group_by_video(data.examples), wanted.num_frames / wanted.fps
    scores = Scores(data.name, predictor.model.name, length, len(groups))
    for done, group in enumerate(groups, 1):
        right = {key: list(videos) for key, videos in scores.right.items()}
        for num_frames in FRAMES:
            settings: dict[str, Any] = {"num_frames": num_frames, "fps": num_frames / length, "policy": wanted.policy, "seed": wanted.seed}
            for row in evaluate(predictor, group, data.store, "qa", sizes=sizes, **settings):
                of_video = (row.metrics["accuracy"] * len(group), len(group))
                right.setdefault((num_frames, row.num_clips, row.aggregation), []).append(of_video)
        scores = replace(scores, done=done, right=right)
        yield scores


def recall_stream(predictor: "Predictor", data: DataSet, wanted: SamplingConfig, *, sizes: Sequence[int] = SIZES) -> Iterator[Scores]:
    """How far it is after each video, and with the last one the share of captions whose video stands first among all.

    Raises ValueError where there are fewer than two videos with captions or the model cannot match, VideoError for an unreadable video.
    """
    import torch

    from clipbert.data.dataset import group_by_video

    groups, length = group_by_video(example for example in data.examples if example.caption), wanted.num_frames / wanted.fps
    if len(groups) < 2:
        raise ValueError(f'R@1 needs at least two videos with captions, got {len(groups)}; a row is {{"video", "caption"}}.')
    captions = [example.caption for group in groups for example in group]
    own = torch.tensor([b for b, group in enumerate(groups) for _ in group])
    columns: dict[tuple[int, int, str], list[Tensor]] = {}
    scores = Scores(data.name, predictor.model.name, length, len(groups), metric=RECALL)
    for done, group in enumerate(groups, 1):
        with data.store.file(group[0].video) as path:
            for num_frames in FRAMES:
                settings: dict[str, Any] = {"num_frames": num_frames, "fps": num_frames / length, "policy": wanted.policy, "seed": wanted.seed}
                for size, part in predictor.encode_sweep(path, sizes=sizes, **settings)[0].items():
                    for how in AGGREGATIONS:
                        columns.setdefault((num_frames, size, how), []).append(predictor.match(part, captions, aggregation=how))
        right = {key: found_first(torch.stack(column, dim=1), own) for key, column in columns.items()} if done == len(groups) else {}
        scores = replace(scores, done=done, right=right)
        yield scores


def found_first(scores: "Tensor", own: "Tensor") -> list[tuple[float, int]]:
    """Of float[M, V] scores and each caption's own video: for each video how many of its captions rank it first, in expectation over ties."""
    import torch

    from clipbert.metrics import recall_at

    relevant = own[:, None] == torch.arange(scores.shape[1])
    first = [recall_at(scores[m : m + 1], relevant[m : m + 1], 1) for m in range(len(own))]
    captions = [own.eq(v).nonzero().flatten().tolist() for v in range(scores.shape[1])]
    return [(sum(first[m] for m in of_video), len(of_video)) for of_video in captions]


STREAMS = {ACCURACY: (score_stream, "openqa"), RECALL: (recall_stream, "captions")}
"""Metric -> what measures it, and the file of the synthetic benchmark that it reads."""


def synthetic_set(num_videos: int, folder: Path, metric: str = ACCURACY) -> DataSet:
    """Videos made by our generator, with what the metric asks; kept in `folder` for the next time."""
    from clipbert.data.examples import read_examples
    from clipbert.data.synthetic import SPLITS, make_dataset
    from clipbert.data.video_store import VideoFolder

    made = folder / str(num_videos)
    if not (made / "README.md").is_file():
        shutil.rmtree(made, ignore_errors=True)
        make_dataset(made, num_videos=num_videos, seed=SYNTHETIC_SEED)
    _, task = STREAMS[metric]
    files = [made / f"{task}_{split}.jsonl" for split in SPLITS]
    examples = chain.from_iterable(read_examples(file) for file in files)
    return DataSet(f"synthetic videos (seed {SYNTHETIC_SEED}, {task})", tuple(examples), VideoFolder(made))


def uploaded_set(paths: Sequence[Path]) -> DataSet:
    """The user's files: videos, and one .jsonl of questions, whose rows can reach no other file.

    Raises ValueError where one is missing or named twice.
    """
    from clipbert.data.examples import read_examples
    from clipbert.data.video_store import VideoFolder

    rows = [path for path in paths if path.suffix.lower() == ".jsonl"]
    if len(rows) != 1 or len(paths) < 2:
        raise ValueError(
            f"a data set is one .jsonl file and its videos, got {len(rows)} .jsonl and {len(paths) - len(rows)} other files; choose them together."
        )
    if len({path.name for path in paths}) < len(paths):
        raise ValueError("two of the files have the same name; rename one, so that the rows can tell them apart.")
    folder = Path(tempfile.mkdtemp(dir=paths[0].parent.parent))
    for path in paths:
        (folder / path.name).symlink_to(path)
    examples = tuple(read_examples(folder / rows[0].name))
    outside = next((example.video for example in examples if Path(example.video).name != example.video), None)
    if outside is not None:
        raise ValueError(f'a row names its video by the name of an uploaded file, got "{outside}"; write the name alone.')
    return DataSet(rows[0].name, examples, VideoFolder(folder))
