"""Attribution to the word pieces of a text, for each clip, since a word says something else of another clip."""

from typing import Any

import torch
from torch import Tensor

from clipbert.attribution_attention import UNSEEN, relevance
from clipbert.attribution_target import Inside, InsideMethod, Method, Values

STEPS_AT_ONCE = 16


def token_ablation(case: Inside) -> Values:
    num_pieces = len(case.score.pieces)
    kept = torch.cat([torch.ones(1, num_pieces, dtype=torch.bool), ~torch.eye(num_pieces, dtype=torch.bool)]).to(case.features.device)
    scores = torch.stack([case.score.of_pieces(clip, kept) for clip in case.features])
    return Values(scores[:, :1] - scores[:, 1:])


def token_integrated_gradients(case: Inside) -> Values:
    from captum.attr import IntegratedGradients

    input_ids, _ = case.score.tokens()
    words, baseline = case.score.word_vectors(input_ids), case.score.word_vectors(_absent(case, input_ids))
    found, gaps = [], []
    for clip in case.features:

        def score(words: Tensor, clip: Tensor = clip) -> Tensor:
            return case.score.of_words(clip, words)

        values, gap = IntegratedGradients(score).attribute(
            words, baselines=baseline, n_steps=case.steps, return_convergence_delta=True, internal_batch_size=STEPS_AT_ONCE
        )
        found.append(values.sum(dim=-1)[0, 1:-1])
        gaps.append(gap[0])
    return Values(torch.stack(found), torch.stack(gaps))


def token_relevance(case: Inside) -> Values:
    num_tokens = case.score.tokens()[0].shape[1]
    return Values(relevance(case)[:, 1 : num_tokens - 1])


def _absent(case: Inside, input_ids: Tensor) -> Tensor:
    """The text with all words replaced; [CLS] and [SEP] stay."""
    tokenizer: Any = case.score.clipbert.processor.tokenizer
    replaced = input_ids.clone()
    replaced[:, 1:-1] = tokenizer.mask_token_id if case.baseline == "mask" else tokenizer.pad_token_id
    return replaced


TOKEN_METHODS: dict[str, tuple[Method, InsideMethod]] = {
    "token_ablation": (
        Method(
            "tokens", "nats", "L + 1 transformer runs a clip", False,
            "loss of the clip's score when this word piece is masked; of another model than ClipBERT, when this word is left out", any_model=True,
        ),
        token_ablation,
    ),
    "token_integrated_gradients": (
        Method(
            "tokens", "nats", "32 forward and backward runs a clip", True,
            "gradient of the clip's score along the way from a text of [MASK] or [PAD] alone, times the distance", ("mask", "pad"),
        ),
        token_integrated_gradients,
    ),
    "token_relevance": (
        Method(
            "tokens", "relative", "1 forward and backward run a clip", False,
            f"gradient x attention through all layers (Chefer 2021), unsigned; {UNSEEN}",
        ),
        token_relevance,
    ),
}  # fmt: skip
