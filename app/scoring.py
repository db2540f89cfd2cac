"""Accuracy of a model over a data set at every N_test, video by video, with an interval that says how little a few videos tell."""

import html
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.sweeping import SIZES
from clipbert.config import SamplingConfig

if TYPE_CHECKING:
    from clipbert.data.rows import Example
    from clipbert.data.video_store import VideoFolder
    from clipbert.predict import Predictor
    from clipbert.viz.figures import Chart

SYNTHETIC_VIDEOS, SYNTHETIC_SEED, SYNTHETIC_TASK = 12, 4242, "openqa"
FRAMES = (1, 2)  # T of the series


@dataclass(frozen=True)
class DataSet:
    """Questions with answers, and where their videos lie."""

    name: str
    examples: "tuple[Example, ...]"
    store: "VideoFolder"


@dataclass(frozen=True)
class Scores:
    """Right answers so far: (T, N_test, aggregation) -> one (right, asked) for each video."""

    data_set: str
    model: str
    clip_seconds: float
    planned: int
    done: int = 0
    right: dict[tuple[int, int, str], list[tuple[float, int]]] = field(default_factory=dict)

    def chart(self, how: str) -> "Chart":
        """Accuracy under one aggregation, a series for each T, and the paper's numbers."""
        from clipbert.metrics import bootstrap_interval
        from clipbert.paper import figure_points
        from clipbert.viz.figures import CurvePoint, PaperPoint, dataset_curve

        points = []
        for (num_frames, size, aggregation), videos in self.right.items():
            if aggregation == how:
                right, asked = [r for r, _ in videos], [a for _, a in videos]
                low, high = bootstrap_interval(right, asked)
                points.append(CurvePoint(size, f"T={num_frames}", 100 * sum(right) / sum(asked), 100 * low, 100 * high))
        paper = [
            PaperPoint(int(point.x), point.y, f"MSRVTT-QA val, {point.series.split(',')[0]}")
            for point in figure_points(4) if point.series.endswith("Accuracy")
        ]  # fmt: skip
        about = f"{self.data_set}, {self.done} of {self.planned} videos, {how}, clips of {self.clip_seconds:g} s, bootstrap over videos"
        return dataset_curve(points, metric="accuracy", data_set=about, model=self.model, paper=paper)

    def html(self) -> str:
        """How far it is."""
        asked = sum(a for _, a in next(iter(self.right.values()), []))
        return f'<p class="soft" role="status">{html.escape(self.data_set)}: {self.done} of {self.planned} videos, {asked} questions</p>'


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


def synthetic_set(num_videos: int, folder: Path) -> DataSet:
    """Videos made by our generator, with open questions; kept in `folder` for the next time."""
    from clipbert.data.examples import read_examples
    from clipbert.data.synthetic import SPLITS, make_dataset
    from clipbert.data.video_store import VideoFolder

    made = folder / str(num_videos)
    if not (made / "README.md").is_file():
        shutil.rmtree(made, ignore_errors=True)
        make_dataset(made, num_videos=num_videos, seed=SYNTHETIC_SEED)
    files = [made / f"{SYNTHETIC_TASK}_{split}.jsonl" for split in SPLITS]
    examples = chain.from_iterable(read_examples(file) for file in files)
    return DataSet(f"synthetic videos (seed {SYNTHETIC_SEED}, open questions)", tuple(examples), VideoFolder(made))


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
