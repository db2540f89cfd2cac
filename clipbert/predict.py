"""Encode a video once, ask it many questions.

Of a model `Predictor` needs two calls (`clipbert.per_clip.PerClipModel`).  Three bounded caches, keyed by content,
stand between the stages: decoded frames, frame features, clip logits.  A new
question never decodes or runs the CNN again; a new aggregation runs no model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from clipbert.aggregation import AGGREGATIONS, aggregate, shapley
from clipbert.bundled import model_folder
from clipbert.caches import Cache
from clipbert.config import ClipBertConfig, SamplingConfig, check_known
from clipbert.encoding import VideoEncoder
from clipbert.guided import Guided, guided
from clipbert.hf.files import is_hf
from clipbert.matching import HeadReading, MatchPart, match_shares
from clipbert.memory import InParts
from clipbert.model import ClipBertForSequenceClassification
from clipbert.per_clip import ClipBertPerClip, PerClipModel
from clipbert.processing import ClipBertProcessor
from clipbert.sweep import SweepRow, sweep_rows
from clipbert.tasks import TASKS, check_choices, require_text
from clipbert.types import EncodedVideo, Prediction

CACHE_BYTES = (256 << 20, 512 << 20, 64 << 20)  # of frames, features and logits


class Predictor(VideoEncoder):
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
        cache_bytes: tuple[int, int, int] = CACHE_BYTES,
    ) -> None:
        self._start(ClipBertPerClip(model, processor, name=name, device=device, dtype=dtype), processor.sampling, cache_bytes)
        self.settle_margins = processor.settle_margins

    def _start(self, model: PerClipModel, sampling: SamplingConfig, cache_bytes: tuple[int, int, int]) -> None:
        frame_bytes, feature_bytes, logit_bytes = cache_bytes
        VideoEncoder.__init__(self, model, sampling, frame_bytes=frame_bytes, feature_bytes=feature_bytes)
        self.logits = Cache(logit_bytes)
        self.settle_margins: dict[str, float] = {}
        self.clips_in_parts = InParts()

    @classmethod
    def of(cls, model: PerClipModel, sampling: SamplingConfig, *, cache_bytes: tuple[int, int, int] = CACHE_BYTES) -> "Predictor":
        """Over any model that scores clips."""
        predictor = cls.__new__(cls)
        predictor._start(model, sampling, cache_bytes)
        return predictor

    @classmethod
    def from_pretrained(cls, folder: str | Path = "real", *, device: str = "auto", dtype: str = "float32") -> "Predictor":
        """A bundled model ("real", "synthetic"), a folder that `save_pretrained` or `clipbert convert` wrote, or `hf:NAME_OR_DIR`.

        The last is a model of transformers of one of the families of
        `clipbert.hf.families`; it looks at one frame a clip if not told
        otherwise.  Raises ValueError for anything else, or for a pre-training
        model, which answers nothing.
        """
        if is_hf(folder):
            from clipbert.hf.families import load

            return cls.of(load(folder, device=device, dtype=dtype), SamplingConfig(num_frames=1))
        path = model_folder(folder)
        processor = ClipBertProcessor.from_pretrained(path)
        if not ClipBertConfig.from_pretrained(path).heads:
            raise ValueError(f"model {folder} has no head that answers: it is a trunk or a pre-training model; fine-tune it first.")
        # float16 files are computed in float32: from_pretrained would otherwise keep the file's type
        model = ClipBertForSequenceClassification.from_pretrained(path, dtype=torch.float32)
        return cls(model, processor, name=str(folder), device=device, dtype=dtype)

    def encode_for(
        self, video: str | Path | Image.Image, question: str, *, sampler: str, choices: Sequence[str] | None = None, **settings: Any
    ) -> Guided:
        """The video at the clips that a rule beyond the paper's picks for this question, and what finding them cost: `clipbert.guided.guided`.

        `sampler` is one of SELECTORS; `settings` are `num_clips`,
        `num_candidates`, `num_frames`, `fps` and `backend`.  With `choices` a
        clip is as relevant as the best of them is to it.  Raises ValueError
        for "relevant" or "covering" if the model has no match score.
        """
        texts = [require_text(question, "question")] if choices is None else TASKS["multiple_choice"].texts(question, check_choices(choices))
        return guided(self, video, lambda seen: self.clip_match(seen, texts).amax(dim=0), sampler=sampler, **settings)

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
            scores = self.pair_logits(video.features[list(clips)], some, head)
            for text, rows in zip(some, scores, strict=True):
                for n, value in zip(clips, rows, strict=True):
                    found[text, n] = value.clone()
                    if keys[n]:
                        self.logits.put((keys[n], head, text), found[text, n])
        return torch.stack([torch.stack([found[text, n] for n in range(len(keys))]) for text in texts])

    def pair_logits(self, features: Float[Tensor, "N T h w D"], texts: Sequence[str], head: str) -> Float[Tensor, "M N J"]:
        """Logits of every text with every clip, whatever videos the clips are of; past the cache, which a gallery would only flush."""
        return self.clips_in_parts.run(lambda part: self.model.score(part, texts, head), features, dim=1)

    def answer(
        self, video: EncodedVideo, question: str, *, choices: Sequence[str] | None = None, aggregation: str | None = None, seed: int = 0
    ) -> Prediction:
        """The answer, every candidate's probability, and each clip's vote and contribution.

        With `choices` the multiple-choice head answers, else the classifier if
        it knows them all, else the match score.  (Of 89 UCF101 clips with six
        actions to choose from, the bundled model's multiple-choice head is right
        on 98.9 %, its classifier on all: models/real/README.md.)  `seed` is of the sampled
        contributions, which more than 16 clips need.  An answer below the
        confidence that the model's head states is marked not `sure`.  Raises ValueError for an
        empty question, fewer than two or repeated choices, or a model that has
        no head for the question.
        """
        how = self.pooling(aggregation)
        candidates, logits = self.candidate_logits(video, question, choices)
        sure_from = self.model.sure_from(self._head("classifier") or "") if choices is None else 0.0
        return self._prediction(video, candidates, logits, how, seed, sure_from, self.notices(video, [question]))

    def candidate_logits(
        self, video: EncodedVideo, question: str, choices: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], Float[Tensor, "N K"]]:
        """The possible answers, and each clip's logits for them: what `answer` pools.  Raises ValueError like it."""
        candidates, readings = self.readings(question, choices)
        return candidates, self._read(video, readings)

    def readings(self, question: str, choices: Sequence[str] | None = None) -> tuple[tuple[str, ...], tuple[HeadReading, ...]]:
        """The possible answers, and what is asked of which heads for their logits.  Raises ValueError like `answer`."""
        question = require_text(question, "question")
        if choices is None:
            return self._open_ended(question)
        return self._multiple_choice(question, check_choices(choices))

    def match_readings(self, texts: Sequence[str]) -> tuple[HeadReading, ...]:
        """What is asked of which heads for the match log-odds of texts.  Raises ValueError like `match`."""
        return tuple(HeadReading(head, tuple(texts), self.model.match_weight(head)) for head in self.match_heads())

    def _read(self, video: EncodedVideo, readings: Sequence[HeadReading]) -> Float[Tensor, "N K"]:
        return torch.stack([r.candidate_logits(self.clip_logits(video, r.texts, r.head)) for r in readings]).sum(dim=0)

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

    def _open_ended(self, question: str) -> tuple[tuple[str, ...], tuple[HeadReading, ...]]:
        head = self._head("classifier")
        if head is None:
            raise ValueError(f"model {self.model.name} has no open-ended answers (its heads: {self._kinds()}); give choices.")
        labels = self.model.labels(head)
        answers = tuple(j for j, label in enumerate(labels) if label)
        return tuple(labels[j] for j in answers), (HeadReading(head, tuple(TASKS["qa"].texts(question, ())), columns=answers),)

    def _multiple_choice(self, question: str, choices: list[str]) -> tuple[tuple[str, ...], tuple[HeadReading, ...]]:
        texts = self.model.choice_texts(question, choices)
        if (head := self._head("multiple_choice")) is not None:
            return tuple(choices), (HeadReading(head, tuple(texts)),)
        classifier = self._head("classifier")
        unknown = sorted(set(choices) - set(self.model.labels(classifier))) if classifier else choices
        if classifier and not unknown:
            labels = self.model.labels(classifier)
            columns = tuple(labels.index(choice) for choice in choices)
            return tuple(choices), (HeadReading(classifier, tuple(TASKS["qa"].texts(question, ())), columns=columns),)
        if self._head("retrieval") or self._head("contrastive"):
            return tuple(choices), self.match_readings(texts)
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
        how = self.pooling(aggregation)
        return {part.head: part.log_odds(how) for part in self.match_logits(video, [require_text(text, "text") for text in texts])}

    def match_logits(self, video: EncodedVideo, texts: Sequence[str]) -> list[MatchPart]:
        """What each head that has a part in `match` says of each text and clip; raises ValueError like `match`."""
        return [MatchPart(head, self.model.match_weight(head), self.clip_logits(video, texts, head)) for head in self.match_heads()]

    def match_prediction(self, video: EncodedVideo, texts: Sequence[str], *, aggregation: str | None = None, seed: int = 0) -> Prediction:
        """`match` as a prediction: `scores` are each text's own probability to match, and do not sum to 1.

        `contribution` is each clip's Shapley value for the best text's match
        log-odds, which are 0 for no clips.  Raises ValueError like `match`.
        """
        how = self.pooling(aggregation)
        log_odds = self.match(video, texts, aggregation=how)
        best = texts[int(log_odds.argmax())]
        return Prediction(
            answer=best, candidates=tuple(texts), scores=log_odds.sigmoid(), clip_logits=self.clip_match(video, texts).T,
            contribution=match_shares(self.match_logits(video, [best]), 0, how, seed), times=video.times, aggregation=how,
            notices=video.notices + ((self.model.match_notice,) if self.model.match_notice else ()) + self.notices(video, texts),
        )  # fmt: skip

    def clip_match(self, video: EncodedVideo, texts: Sequence[str]) -> Float[Tensor, "K N"]:
        """Each clip's own match log-odds for each text; raises ValueError like `match`."""
        return torch.stack([part.clip_log_odds() for part in self.match_logits(video, texts)]).sum(dim=0)

    def sweep(
        self, video: str | Path | Image.Image, question: str, *, choices: Sequence[str] | None = None, **settings: Any
    ) -> tuple[list[SweepRow], str]:
        """Answer and score for each N_test x aggregation, and the sentence of `encode_sweep`, which takes `settings`."""
        parts, note = self.encode_sweep(video, **settings)
        asked = {size: self.candidate_logits(part, question, choices) for size, part in parts.items()}
        candidates = next(iter(asked.values()))[0]
        return sweep_rows({size: logits for size, (_, logits) in asked.items()}, candidates), note

    def pooling(self, aggregation: str | None) -> str:
        """The aggregation asked for, or the model's own.  Raises ValueError for an unknown one."""
        how = aggregation or self.sampling.aggregation
        check_known("aggregation", how, AGGREGATIONS)
        return how

    def settle_margin(self, how: str) -> float:
        """The lead, in nats, at which an answer pooled so counts as settled (`clipbert.settling`).

        Raises ValueError where it was not calibrated.
        """
        if how not in self.settle_margins:
            raise ValueError(
                f'model {self.model.name} has no calibrated margin for aggregation "{how}"; give one in nats, or calibrate it with train/settle.py.'
            )
        return self.settle_margins[how]

    def _head(self, kind: str) -> str | None:
        return next((name for name, k in self.model.heads.items() if k == kind), None)

    def vector_head(self) -> str | None:
        """The contrastive head, whose vectors of clips and texts make a gallery a matrix product; None for a model without."""
        return self._head("contrastive")

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

    def notices(self, video: EncodedVideo, texts: Sequence[str]) -> tuple[str, ...]:
        """Sentences on what of the picture and of the texts suits the model badly, and on what memory was short for."""
        shape = self.model.shape_notice(*video.frame_size) if video.frame_size else ()
        return (*shape, *self.frames_in_parts.notice("frames"), *self.clips_in_parts.notice("clips"), *self.text_notices(texts))

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
