"""Encode a video once, ask it many questions.

Of a model `Predictor` needs two calls (`clipbert.per_clip.PerClipModel`).  Three bounded caches, keyed by content,
stand between the stages: decoded frames, frame features, clip logits.  A new
question never decodes or runs the CNN again; a new aggregation runs no model.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from clipbert.aggregation import AGGREGATIONS, aggregate, match_shapley, shapley
from clipbert.config import ClipBertConfig, check_known
from clipbert.model import ClipBertForSequenceClassification
from clipbert.per_clip import ClipBertPerClip, PerClipModel
from clipbert.processing import ClipBertProcessor, resize_and_pad, resized
from clipbert.sampling import ClipTimes, sample_clips, sweep_plan
from clipbert.source import Source, digest, source_of
from clipbert.tasks import TASKS, check_choices, choices_as_answers, match_log_odds, require_text
from clipbert.types import EncodedVideo, Prediction
from clipbert.video import VideoError

MODELS = Path(__file__).parent / "models"
BUNDLED = ("real", "synthetic")
FRAMES_AT_ONCE = 32
ENTRY_BYTES = 512  # what a cached tensor and its key weigh besides the numbers
Progress = Callable[[str, int, int], None]  # stage, done, total


class _Cache:
    """Least recently used values up to a number of bytes, for several threads; counts hits and misses."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes, self.hits, self.misses = max_bytes, 0, 0, 0
        self._values: OrderedDict[Any, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Any) -> bool:
        return key in self._values

    def get(self, key: Any) -> Tensor | None:
        with self._lock:
            value = self._values.get(key)
            if value is None:
                self.misses += 1
            else:
                self.hits += 1
                self._values.move_to_end(key)
            return value

    def put(self, key: Any, value: Tensor) -> None:
        with self._lock:
            if key in self._values or value.nbytes + ENTRY_BYTES > self.max_bytes:
                return
            self._values[key] = value
            self.bytes += value.nbytes + ENTRY_BYTES
            while self.bytes > self.max_bytes:
                self.bytes -= self._values.popitem(last=False)[1].nbytes + ENTRY_BYTES


@dataclass(frozen=True)
class SweepRow:
    """The answer at one N_test under one aggregation."""

    num_clips: int
    aggregation: str
    answer: str
    score: float


class Predictor:
    """A model with its way of sampling a video.

    `device`: "auto", "cpu" or "cuda"; `dtype`: "float32", "bfloat16", or "auto"
    for bfloat16 where the device computes in it.
    """

    def __init__(
        self,
        model: ClipBertForSequenceClassification,
        processor: ClipBertProcessor,
        *,
        name: str = "custom",
        device: str = "auto",
        dtype: str = "float32",
        cache_bytes: tuple[int, int, int] = (256 << 20, 512 << 20, 64 << 20),
    ) -> None:
        self.model: PerClipModel = ClipBertPerClip(model, processor, name=name, device=device, dtype=dtype)
        self.sampling = processor.sampling
        self.frames, self.features, self.logits = (_Cache(size) for size in cache_bytes)

    @classmethod
    def from_pretrained(cls, folder: str | Path = "real", *, device: str = "auto", dtype: str = "float32") -> "Predictor":
        """A bundled model ("real", "synthetic") or a folder that `save_pretrained` or `clipbert convert` wrote.

        Raises ValueError for anything else, or for a pre-training model, which answers nothing.
        """
        path = model_folder(folder)
        processor = ClipBertProcessor.from_pretrained(path)
        if not ClipBertConfig.from_pretrained(path).heads:
            raise ValueError(f"model {folder} has no head that answers: it is a trunk or a pre-training model; fine-tune it first.")
        # float16 files are computed in float32: from_pretrained would otherwise keep the file's type
        model = ClipBertForSequenceClassification.from_pretrained(path, dtype=torch.float32)
        return cls(model, processor, name=str(folder), device=device, dtype=dtype)

    def encode(
        self,
        video: str | Path | Image.Image,
        *,
        num_clips: int | None = None,
        num_frames: int | None = None,
        fps: float | None = None,
        policy: str | None = None,
        seed: int | None = None,
        backend: str | None = None,
        progress: Progress | None = None,
    ) -> EncodedVideo:
        """Sampled, decoded and through the CNN; settings not given are the model's own.

        An image is a one-frame video.  Clips that cannot be decoded are left
        out and named in `notices`.  Raises VideoError if no clip can.
        """
        source, clips, used = self.plan_clips(video, num_clips=num_clips, num_frames=num_frames, fps=fps, policy=policy, seed=seed, backend=backend)
        return self.encode_clips(source, clips, used, progress)

    def plan_clips(
        self, video: str | Path | Image.Image, *, num_clips: int | None = None, num_frames: int | None = None, fps: float | None = None,
        policy: str | None = None, seed: int | None = None, backend: str | None = None,
    ) -> tuple[Source, list[ClipTimes], str]:  # fmt: skip
        """The video, the clips that `encode` would take of it, and the policy's name.  Raises VideoError."""
        given = {"num_clips": num_clips, "num_frames": num_frames, "fps": fps, "policy": policy, "seed": seed}
        settings = replace(self.sampling, **{k: v for k, v in given.items() if v is not None})
        source = source_of(video, backend)
        timeline, _ = source.timeline()
        clips = sample_clips(
            timeline, num_clips=settings.num_clips, num_frames=settings.num_frames, fps=settings.fps, policy=settings.policy,
            generator=torch.Generator().manual_seed(settings.seed),
        )  # fmt: skip
        return source, list(clips), settings.policy

    def encode_clips(self, source: Source, clips: Sequence[ClipTimes], policy: str, progress: Progress | None = None) -> EncodedVideo:
        """These clips of the video, decoded and through the CNN.  Raises VideoError if none can be decoded."""
        timeline, notices = source.timeline()
        wanted = sorted({int(i) for clip in clips for i in clip.frame_index})
        found, missing = self._frame_features(source, wanted, progress)
        usable = [n for n, clip in enumerate(clips) if not any(int(i) in missing for i in clip.frame_index)]
        if not usable:
            raise VideoError(f"cannot decode any of the {len(clips)} clips of {source.name}; the file is damaged where they lie.")
        if len(usable) < len(clips):
            notices = (*notices, left_out([n + 1 for n in range(len(clips)) if n not in usable], len(clips)))
        kept = [clips[n] for n in usable]
        picked = tuple(tuple(int(i) for i in clip.frame_index) for clip in kept)
        keys = tuple(digest(source.key, self.model.fingerprint, repr(clip)) for clip in picked)
        return EncodedVideo(
            features=torch.stack([torch.stack([found[i] for i in clip]) for clip in picked]),
            times=torch.stack([clip.times for clip in kept]),
            spans=torch.tensor([[clip.start, clip.end] for clip in kept], dtype=torch.float64),
            duration=timeline.duration,
            key=digest(*keys),
            policy=policy,
            partial=bool(notices),
            shortened=tuple(bool(clip.shortened) for clip in kept),
            notices=notices,
            clip_keys=keys,
        )

    def pictures(self, source: Source, clip: ClipTimes) -> UInt8[Tensor, "T 3 H W"]:
        """The decoded frames of a clip that could be encoded."""
        indices = sorted({int(i) for i in clip.frame_index})
        found = dict(self._frames(source, indices))
        return torch.stack([found[int(i)] for i in clip.frame_index])

    def has_features(self, source: Source, clip: ClipTimes) -> bool:
        """Whether encoding the clip needs neither decoding nor the CNN."""
        return all((self.model.fingerprint, source.key, int(i)) in self.features for i in clip.frame_index)

    def _frame_features(self, source: Source, wanted: Sequence[int], progress: Progress | None) -> tuple[dict[int, Tensor], set[int]]:
        """Features of the wanted source frames, and those that cannot be decoded."""
        found: dict[int, Tensor] = {}
        for i in wanted:
            if (features := self.features.get((self.model.fingerprint, source.key, i))) is not None:
                found[i] = features
        todo = [i for i in wanted if i not in found]
        batch: list[tuple[int, Tensor]] = []
        decoded: set[int] = set()

        def flush() -> None:
            for (i, _), features in zip(batch, self.model.encode(torch.stack([frame for _, frame in batch])).cpu(), strict=True):
                found[i] = features.clone()
                self.features.put((self.model.fingerprint, source.key, i), found[i])
            batch.clear()
            if progress is not None:
                progress("frames", len(found), len(wanted))

        for i, frame in self._frames(source, todo):
            decoded.add(i)
            batch.append((i, frame))
            if len(batch) == FRAMES_AT_ONCE:
                flush()
        if batch:
            flush()
        return found, set(todo) - decoded

    def _frames(self, source: Source, wanted: Sequence[int]) -> Any:
        """Yield (source frame index, uint8[3, H, W]) of the decodable ones among `wanted`."""
        cached = {i: frame for i in wanted if (frame := self.frames.get((source.key, i))) is not None}
        yield from cached.items()
        rest = [i for i in wanted if i not in cached]
        if rest:
            with source.open() as opened:
                for first in range(0, len(rest), FRAMES_AT_ONCE):  # ascending, so chunks share the decoding of a group of pictures
                    pictures, _ = opened.decode(rest[first : first + FRAMES_AT_ONCE])
                    for i, frame in pictures.items():
                        self.frames.put((source.key, i), frame)
                        yield i, frame

    def clip_pictures(
        self, video: str | Path | Image.Image, encoded: EncodedVideo, *, backend: str | None = None
    ) -> tuple[UInt8[Tensor, "N T 3 S S"], tuple[int, int]]:
        """The frames of each clip as the model gets them, from the cache where it has them; and the (height, width) that is no padding.

        Raises VideoError.
        """
        source, side = source_of(video, backend), self.model.image_size
        timeline, _ = source.timeline()
        picked = torch.searchsorted(timeline.times, encoded.times.contiguous())
        small, size = {}, (side, side)
        for i, frame in self._frames(source, sorted(set(picked.flatten().tolist()))):
            small[i] = resize_and_pad(frame[None], side)[0].round().clamp(0, 255).to(torch.uint8)
            size = resized(frame.shape[-2], frame.shape[-1], side)
        return torch.stack([torch.stack([small[i] for i in clip]) for clip in picked.tolist()]), size

    def clip_logits(self, video: EncodedVideo, texts: Sequence[str], head: str) -> Float[Tensor, "M N J"]:
        """Each clip's logits for each text, from the cache where it has them."""
        keys = video.clip_keys or tuple(f"{video.key} {n}" if video.key else "" for n in range(video.num_clips))
        found: dict[tuple[str, int], Tensor] = {}
        lacking: dict[tuple[int, ...], list[str]] = {}  # clips -> the texts that lack just these
        for text in dict.fromkeys(texts):
            known = {n: value for n, key in enumerate(keys) if key and (value := self.logits.get((key, head, text))) is not None}
            found |= {(text, n): value for n, value in known.items()}
            if len(known) < len(keys):
                lacking.setdefault(tuple(n for n in range(len(keys)) if n not in known), []).append(text)
        for clips, some in lacking.items():
            for text, rows in zip(some, self.model.score(video.features[list(clips)], some, head), strict=True):
                for n, value in zip(clips, rows, strict=True):
                    found[text, n] = value.clone()
                    if keys[n]:
                        self.logits.put((keys[n], head, text), found[text, n])
        return torch.stack([torch.stack([found[text, n] for n in range(len(keys))]) for text in texts])

    def answer(
        self, video: EncodedVideo, question: str, *, choices: Sequence[str] | None = None, aggregation: str | None = None, seed: int = 0
    ) -> Prediction:
        """The answer, every candidate's probability, and each clip's vote and contribution.

        With `choices` the multiple-choice head answers, else the classifier if
        it knows them all, else the match score.  (The classifier was trained to
        answer questions, a match score to compare captions: on 89 UCF101 clips
        with six actions to choose from, 92 % against 44 %.)  `seed` is of the sampled
        contributions, which more than 16 clips need.  An answer below the
        confidence that the model's head states is marked not `sure`.  Raises ValueError for an
        empty question, fewer than two or repeated choices, or a model that has
        no head for the question.
        """
        how = self._aggregation(aggregation)
        candidates, logits = self.candidate_logits(video, question, choices)
        sure_from = self.model.sure_from(self._head("classifier") or "") if choices is None else 0.0
        return self._prediction(video, candidates, logits, how, seed, sure_from, self.text_notices([question]))

    def candidate_logits(
        self, video: EncodedVideo, question: str, choices: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], Float[Tensor, "N K"]]:
        """The possible answers, and each clip's logits for them: what `answer` pools.  Raises ValueError like it."""
        question = require_text(question, "question")
        if choices is None:
            return self._open_ended(video, question)
        return self._multiple_choice(video, question, check_choices(choices))

    def _prediction(
        self, video: EncodedVideo, candidates: tuple[str, ...], logits: Float[Tensor, "N K"], how: str, seed: int, sure_from: float,
        notices: tuple[str, ...],
    ) -> Prediction:  # fmt: skip
        scores = aggregate(logits[None], how)[0].softmax(dim=-1)
        ranked = scores.argsort(descending=True)[:3].tolist()
        sure = float(scores[ranked[0]]) >= sure_from
        if not sure:
            others = ", ".join(f"{candidates[j]} ({100 * float(scores[j]):.0f} %)" for j in ranked)
            notices = (f"not sure: below {100 * sure_from:.0f} % this model is often wrong; it wavers between {others}", *notices)
        share = shapley(logits, ranked[0], how, generator=torch.Generator().manual_seed(seed))
        return Prediction(
            answer=candidates[ranked[0]], candidates=candidates, scores=scores, clip_logits=logits, contribution=share.values,
            times=video.times, aggregation=how, sure=sure, notices=video.notices + notices,
        )  # fmt: skip

    def _open_ended(self, video: EncodedVideo, question: str) -> tuple[tuple[str, ...], Float[Tensor, "N K"]]:
        head = self._head("classifier")
        if head is None:
            raise ValueError(f"model {self.model.name} has no open-ended answers (its heads: {self._kinds()}); give choices.")
        labels = self.model.labels(head)
        answers = [j for j, label in enumerate(labels) if label]
        texts = TASKS["qa"].texts(question, ())
        return tuple(labels[j] for j in answers), self.clip_logits(video, texts, head)[0][:, answers]

    def _multiple_choice(self, video: EncodedVideo, question: str, choices: list[str]) -> tuple[tuple[str, ...], Float[Tensor, "N K"]]:
        texts = TASKS["multiple_choice"].texts(question, choices)
        if (head := self._head("multiple_choice")) is not None:
            return tuple(choices), choices_as_answers(self.clip_logits(video, texts, head), len(choices))[0]
        classifier = self._head("classifier")
        unknown = sorted(set(choices) - set(self.model.labels(classifier))) if classifier else choices
        if classifier and not unknown:
            candidates, logits = self._open_ended(video, question)
            return tuple(choices), logits[:, [candidates.index(choice) for choice in choices]]
        if self._head("retrieval") or self._head("contrastive"):
            return tuple(choices), self.clip_match(video, texts).T
        if classifier:
            raise ValueError(f"model {self.model.name} knows no answer {unknown[0]!r}; it can only choose among its own answers.")
        raise ValueError(f"model {self.model.name} cannot choose among answers (its heads: {self._kinds()}).")

    def match(self, video: EncodedVideo, texts: Sequence[str], *, aggregation: str | None = None) -> Float[Tensor, " K"]:
        """Log-odds that each text describes the video, pooled over clips: the sum of `match_parts`."""
        return torch.stack(list(self.match_parts(video, texts, aggregation=aggregation).values())).sum(dim=0)

    def match_parts(self, video: EncodedVideo, texts: Sequence[str], *, aggregation: str | None = None) -> dict[str, Float[Tensor, " K"]]:
        """What the retrieval head and the contrastive head add to `match`, by head: pooled log-odds times the head's weight.

        Heads of weight 0 are not asked.  Raises ValueError for a model with neither.
        """
        how = self._aggregation(aggregation)
        texts = [require_text(text, "text") for text in texts]
        return {head: self.model.match_weight(head) * match_log_odds(self.clip_logits(video, texts, head), how) for head in self.match_heads()}

    def match_prediction(self, video: EncodedVideo, texts: Sequence[str], *, aggregation: str | None = None, seed: int = 0) -> Prediction:
        """`match` as a prediction: `scores` are each text's own probability to match, and do not sum to 1.

        `contribution` is each clip's Shapley value for the best text's match
        log-odds, which are 0 for no clips.  Raises ValueError like `match`.
        """
        how = self._aggregation(aggregation)
        log_odds = self.match(video, texts, aggregation=how)
        best = texts[int(log_odds.argmax())]
        shares = [  # Shapley values are linear in what they share, so a head's weight is theirs
            self.model.match_weight(head)
            * match_shapley(self.clip_logits(video, [best], head)[0], how, generator=torch.Generator().manual_seed(seed)).values
            for head in self.match_heads()
        ]
        return Prediction(
            answer=best, candidates=tuple(texts), scores=log_odds.sigmoid(), clip_logits=self.clip_match(video, texts).T,
            contribution=torch.stack(shares).sum(dim=0), times=video.times, aggregation=how, notices=video.notices + self.text_notices(texts),
        )  # fmt: skip

    def clip_match(self, video: EncodedVideo, texts: Sequence[str]) -> Float[Tensor, "K N"]:
        """Each clip's own match log-odds for each text; raises ValueError like `match`."""
        per_head = []
        for head in self.match_heads():
            logits = self.clip_logits(video, texts, head)
            own = logits[..., 1] - logits[..., 0] if logits.shape[-1] == 2 else logits[..., 0]
            per_head.append(self.model.match_weight(head) * own)
        return torch.stack(per_head).sum(dim=0)

    def encode_sweep(
        self, video: str | Path | Image.Image, *, sizes: Sequence[int] = (1, 2, 4, 8, 16), num_frames: int | None = None, fps: float | None = None,
        policy: str | None = None, seed: int | None = None, backend: str | None = None,
    ) -> tuple[dict[int, EncodedVideo], str]:  # fmt: skip
        """The video at each N_test, and a sentence on how many clips that took: one encoding where the policy nests.

        Raises VideoError if any of the clips cannot be decoded.
        """
        given = {"num_frames": num_frames, "fps": fps, "policy": policy, "seed": seed}
        sampling = replace(self.sampling, **{k: v for k, v in given.items() if v is not None})
        source = source_of(video, backend)
        timeline, _ = source.timeline()
        plan = sweep_plan(
            timeline, sizes, num_frames=sampling.num_frames, fps=sampling.fps, policy=sampling.policy,
            generator=torch.Generator().manual_seed(sampling.seed),
        )  # fmt: skip
        encoded = self.encode_clips(source, plan.clips, sampling.policy, None)
        if encoded.num_clips < len(plan.clips):
            raise VideoError(f"a sweep needs all {len(plan.clips)} clips of {source.name}, and only {encoded.num_clips} can be decoded; use ask.")
        parts = {}
        for size, members in plan.index.items():
            chosen = list(members)
            parts[size] = replace(
                encoded, features=encoded.features[chosen], times=encoded.times[chosen], spans=encoded.spans[chosen],
                shortened=tuple(encoded.shortened[i] for i in chosen), key=digest(encoded.key, repr(members)),
                clip_keys=tuple(encoded.clip_keys[i] for i in chosen),
            )  # fmt: skip
        passes = "the sizes do not nest, so each ran on its own clips" if plan.reruns else "all sizes from one pass"
        return parts, f"policy {sampling.policy}: {passes}, {len(plan.clips)} clips encoded"

    def sweep(
        self, video: str | Path | Image.Image, question: str, *, choices: Sequence[str] | None = None, **settings: Any
    ) -> tuple[list[SweepRow], str]:
        """Answer and score for each N_test x aggregation, and the sentence of `encode_sweep`, which takes `settings`."""
        parts, note = self.encode_sweep(video, **settings)
        rows = []
        for size, part in parts.items():
            candidates, logits = self.candidate_logits(part, question, choices)
            for how in AGGREGATIONS:
                scores = aggregate(logits[None], how)[0].softmax(dim=-1)
                rows.append(SweepRow(size, how, candidates[int(scores.argmax())], float(scores.max())))
        return rows, note

    def _aggregation(self, aggregation: str | None) -> str:
        how = aggregation or self.sampling.aggregation
        check_known("aggregation", how, AGGREGATIONS)
        return how

    def _head(self, kind: str) -> str | None:
        return next((name for name, k in self.model.heads.items() if k == kind), None)

    def match_heads(self) -> list[str]:
        """The heads whose log-odds make the match score; raises ValueError if the model has none."""
        heads = [head for kind in ("retrieval", "contrastive") if (head := self._head(kind)) is not None]
        found = [head for head in heads if self.model.match_weight(head) > 0]
        if not found:
            raise ValueError(
                f"model {self.model.name} has no match score (its heads: {self._kinds()}); use one with a retrieval or contrastive head."
            )
        return found

    def _kinds(self) -> str:
        return ", ".join(sorted(set(self.model.heads.values())))

    def text_notices(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Sentences on what of the texts the model cannot read."""
        notices = []
        for text in texts:
            pieces = self.model.pieces(text)
            if pieces.unknown:
                notices.append(f"the model knows no piece of: {', '.join(dict.fromkeys(pieces.unknown))}")
            if pieces.cut:
                total = len(pieces.pieces) + len(pieces.cut)
                notices.append(f"the text is cut: {len(pieces.cut)} of its {total} pieces were not read, from {pieces.cut[0]!r} on")
        return tuple(notices)


def left_out(lost: Sequence[int], num_clips: int) -> str:
    """The sentence about clips, counted from 1, that could not be decoded."""
    be = "clip {} of {} could not be decoded and is" if len(lost) == 1 else "clips {} of {} could not be decoded and are"
    return f"{be.format(', '.join(map(str, lost)), num_clips)} left out; N_test={num_clips - len(lost)}"


def model_folder(name: str | Path) -> Path:
    """The folder of a bundled model's name or of a path.

    Raises ValueError, with what would do, for anything else.
    """
    bundled = [m for m in BUNDLED if (MODELS / m / "config.json").is_file()]
    folder = MODELS / str(name) if str(name) in bundled else Path(name)
    if not (folder / "config.json").is_file():
        raise ValueError(f"no model {str(name)!r}: give {' or '.join(bundled)}, or a folder with config.json, processor.json and model.safetensors.")
    return folder
