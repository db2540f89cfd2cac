"""How often retrieval is right: captions that belong to videos of the gallery, and every score between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from app.gallery import Gallery
from clipbert.data.examples import read_examples
from clipbert.data.story_video import write_video
from clipbert.data.synthetic import make_story, rows
from clipbert.metrics import ranks, retrieval_metrics
from clipbert.predict import Predictor

SYNTHETIC_SEED, SYNTHETIC_SPLIT = 7, "test"


@dataclass(frozen=True)
class Pairs:
    """Captions and the video that each describes; `left_out` counts captions of videos that the gallery does not hold."""

    captions: tuple[tuple[str, Path], ...]
    left_out: int = 0

    def captions_of(self, path: str) -> list[str]:
        """Those that describe one video."""
        return [caption for caption, video in self.captions if str(video) == path]


@dataclass(frozen=True)
class Query:
    """One caption's result: where its video stands, and what stands first."""

    rank: float
    caption: str
    video: str
    score: float
    first: str
    first_score: float
    video_path: str
    first_path: str

    def shown(self) -> dict[str, str | float]:
        """Without paths of the server."""
        return {name: value for name, value in vars(self).items() if not name.endswith("_path")}


def read_pairs(path: Path, gallery: Gallery) -> Pairs:
    """The captions of an annotation file (any format of `read_examples`) that belong to videos of the gallery, named with or without suffix.

    Raises ValueError for a file that cannot be read, and if none belongs to one.
    """
    by_name = {Path(name).stem: video for video, name in gallery.names.items()}
    examples = [example for example in read_examples(path) if example.caption]
    found = tuple((example.caption, by_name[Path(example.video).stem]) for example in examples if Path(example.video).stem in by_name)
    if not found:
        raise ValueError(f"none of the {len(examples)} captions of {path.name} names a video of the gallery, such as {next(iter(by_name), 'none')}.")
    return Pairs(found, len(examples) - len(found))


def synthetic_pairs(folder: Path, num_videos: int) -> tuple[dict[Path, str], Pairs]:
    """Videos drawn by code, written to `folder` where they are missing, and a sentence for each about one of its scenes."""
    names, captions = {}, []
    for number in range(num_videos):
        story = make_story(SYNTHETIC_SEED, SYNTHETIC_SPLIT, number)
        path = (folder / Path(story.path).name).resolve()
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"part-{path.name}")
            write_video(story, unfinished)
            unfinished.replace(path)
        names[path] = f"synthetic {path.name}"
        captions += [(str(row["caption"]), path) for row in rows(story)["captions"][:1]]
    return names, Pairs(tuple(captions))


def score_all(gallery: Gallery, predictor: Predictor, pairs: Pairs, aggregation: str) -> Iterator[tuple[int, Tensor]]:
    """(videos done, scores float[M, videos done]): the match log-odds of every caption with one video after the other."""
    assert gallery.index is not None
    texts, columns = [caption for caption, _ in pairs.captions], []
    for done, entry in enumerate(gallery.index.entries.values(), 1):
        columns.append(predictor.match(entry.video, texts, aggregation=aggregation))
        yield done, torch.stack(columns, dim=1)


def judged(gallery: Gallery, pairs: Pairs, scores: Tensor) -> tuple[dict[str, float], list[Query]]:
    """Recall and ranks over the videos scored so far, and each caption's own result, worst first.

    Raises ValueError where a caption's video is not among them.
    """
    assert gallery.index is not None
    videos, relevant = list(gallery.index.entries), relevant_videos(gallery, pairs, scores)
    right, places, queries = relevant.int().argmax(dim=1), ranks(scores, relevant), []
    for m, (caption, path) in enumerate(pairs.captions):
        first = int(scores[m].argmax())
        queries.append(Query(
            places[m], caption, gallery.named(str(path)), float(scores[m, right[m]]), gallery.named(videos[first]), float(scores[m, first]),
            str(path), videos[first],
        ))  # fmt: skip
    return retrieval_metrics(scores, right), sorted(queries, key=lambda query: -query.rank)


def relevant_videos(gallery: Gallery, pairs: Pairs, scores: Tensor) -> Tensor:
    """bool[M, videos done]: whether a video, of those scored so far, is the caption's own.  Raises ValueError where that is not among them."""
    assert gallery.index is not None
    videos = list(gallery.index.entries)[: scores.shape[1]]
    right = torch.tensor([videos.index(str(path)) for _, path in pairs.captions])
    return right[:, None] == torch.arange(len(videos))
