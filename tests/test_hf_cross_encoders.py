"""Models that read a frame together with a text, behind `hf:`: ViLT and BLIP, with what transformers says of the same frames and texts."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hf_models import CROSS_ENCODERS
from test_hf_dual_encoder import frames_of
from videos import write_video

from clipbert.attribution import attribute
from clipbert.faithfulness import faithfulness
from clipbert.predict import Predictor
from clipbert.retrieval import VideoIndex

TEXTS = ["a red car", "what is it?"]
CHOICES = ["car", "a red a"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 x 64: what is not square shows which side is which."""
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in CROSS_ENCODERS.items()}


@pytest.fixture(scope="module")
def predictors(folders: dict[str, Path]) -> dict[str, Predictor]:
    return {name: Predictor.from_pretrained(f"hf:{folder}", device="cpu") for name, folder in folders.items()}


def parts(folder: Path) -> tuple[Any, Any, Any]:
    """Model, tokenizer and image processor, as transformers loads them."""
    architecture = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    model = getattr(transformers, architecture).from_pretrained(folder).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder), transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")


@pytest.mark.parametrize("name", ["vilt-qa", "vilt-match", "blip-match"])
def test_clip_logits_are_the_mean_of_what_transformers_says_of_the_frames(
    name: str, folders: dict[str, Path], predictors: dict[str, Predictor], video: Path
) -> None:
    predictor, (model, tokenizer, processor) = predictors[name], parts(folders[name])
    encoded = predictor.encode(video, num_clips=2, num_frames=2)
    found = predictor.clip_logits(encoded, TEXTS, next(iter(predictor.model.heads)))
    for n in range(2):
        frames = processor(frames_of(video, encoded.times[n]), return_tensors="pt")
        for m, text in enumerate(TEXTS):
            words = tokenizer([text] * 2, return_tensors="pt")
            if name == "blip-match":
                del words["token_type_ids"]
            with torch.no_grad():
                said = model(**words, **frames)
            torch.testing.assert_close(found[m, n], (said.itm_score if name == "blip-match" else said.logits).mean(dim=0), atol=1e-5, rtol=1e-5)


def test_blip_scores_an_answer_as_its_decoder_would_say_it_token_by_token(
    folders: dict[str, Path], predictors: dict[str, Predictor], video: Path
) -> None:
    predictor, (model, tokenizer, processor) = predictors["blip-answer"], parts(folders["blip-answer"])
    encoded = predictor.encode(video, num_clips=2)
    candidates, found = predictor.candidate_logits(encoded, "what is it?", CHOICES)
    assert list(candidates) == CHOICES
    beside = predictor.model.score(
        encoded.features, [*predictor.model.choice_texts("what is it?", CHOICES), *predictor.model.choice_texts("a", ["b"])], "choice"
    )
    torch.testing.assert_close(beside[:2, :, 0].T, found)  # whatever stands beside it
    words = tokenizer("what is it?", return_tensors="pt")
    for n in range(2):
        frames = processor(frames_of(video, encoded.times[n]), return_tensors="pt")
        with torch.no_grad():
            image = model.vision_model(**frames).last_hidden_state
            question = model.text_encoder(words["input_ids"], encoder_hidden_states=image).last_hidden_state
            for k, answer in enumerate(CHOICES):
                said, total = [model.decoder_start_token_id], 0.0
                for token in tokenizer(answer)["input_ids"][1:]:
                    logits = model.text_decoder(torch.tensor([said]), encoder_hidden_states=question).logits[0, -1]
                    total, said = total + float(logits.log_softmax(0)[token]), [*said, token]
                assert float(found[n, k]) == pytest.approx(total, abs=1e-4)


def test_an_answer_comes_from_the_vocabulary_or_from_the_choices(predictors: dict[str, Predictor], video: Path) -> None:
    vilt, blip = predictors["vilt-qa"], predictors["blip-answer"]
    assert vilt.answer(vilt.encode(video, num_clips=2), "what is it?").candidates == ("red", "green", "car")
    assert vilt.answer(vilt.encode(video, num_clips=2), "what is it?", choices=["car", "red"]).candidates == ("car", "red")
    assert blip.answer(blip.encode(video, num_clips=2), "what is it?", choices=CHOICES).answer in CHOICES
    with pytest.raises(ValueError, match="has no open-ended answers"):
        blip.answer(blip.encode(video, num_clips=2), "what is it?")


@pytest.mark.parametrize("name", ["vilt-match", "blip-match"])
def test_a_search_scores_as_match_does(name: str, predictors: dict[str, Predictor], video: Path, tmp_path: Path) -> None:
    predictor, other = predictors[name], write_video(tmp_path / "b.mp4", num_frames=20, fps=10)
    hits = VideoIndex.build([video, other], predictor, num_clips=2).search(TEXTS[0])
    expected = [float(predictor.match(predictor.encode(path, num_clips=2), TEXTS[:1])) for path in (video, other)]
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected, reverse=True), abs=1e-5)


@pytest.mark.parametrize(("name", "choices"), [("vilt-qa", None), ("blip-answer", CHOICES), ("blip-match", CHOICES)])
def test_a_sweep_pools_the_same_clips(name: str, choices: list[str] | None, predictors: dict[str, Predictor], video: Path) -> None:
    rows, note = predictors[name].sweep(video, "what is it?", choices=choices)
    assert len(rows) == 15 and "clips encoded" in note


def explained(name: str, method: str, predictors: dict[str, Predictor], video: Path) -> Any:
    predictor, wanted = predictors[name], {"task": "match"} if "match" in name else {"choices": CHOICES if "blip" in name else None}
    encoded = predictor.encode(video, num_clips=2, num_frames=1 if "cell" in method else 2)
    return encoded, attribute(predictor, encoded, "what is it?", method=method, **wanted)


@pytest.mark.parametrize("method", ["clip_shapley", "frame_shapley"])
@pytest.mark.parametrize("name", list(CROSS_ENCODERS))
def test_shapley_values_sum_to_the_whole(name: str, method: str, predictors: dict[str, Predictor], video: Path) -> None:
    _, found = explained(name, method, predictors, video)
    assert found.gap == pytest.approx(0, abs=1e-4) and bool((found.values != 0).any())


@pytest.mark.parametrize(("name", "shape"), [("vilt-match", (4, 5)), ("blip-match", (4, 4))])
def test_cell_occlusion_is_the_loss_of_the_score_without_the_cell(
    name: str, shape: tuple[int, int], predictors: dict[str, Predictor], video: Path
) -> None:
    encoded, found = explained(name, "cell_occlusion", predictors, video)
    assert found.cells.shape == (2, *shape) and found.grid.boxes()[-1, -1].tolist() == [64 - 64 / shape[1], 48 - 48 / shape[0], 64, 48]
    seen = torch.ones(2, *shape, dtype=torch.bool)
    seen[:, 1, 2] = False
    with torch.no_grad():
        whole, without = (predictors[name].model.score_cells(encoded.features, ["what is it?"], "match", mask)[0] for mask in (None, seen))
    loss = (whole - without)[:, -1] - (whole - without)[:, 0] * (whole.shape[1] == 2)
    torch.testing.assert_close(found.cells[:, 1, 2], loss, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["vilt-match", "blip-match"])
def test_a_words_value_is_the_loss_of_the_score_of_a_text_without_it(name: str, predictors: dict[str, Predictor], video: Path) -> None:
    encoded, found = explained(name, "token_ablation", predictors, video)
    scores = predictors[name].clip_match(encoded, ["what is it?", "is it?", "what it?", "what is"])
    assert found.pieces == ("what", "is", "it?")
    torch.testing.assert_close(found.tokens, (scores[:1] - scores[1:]).T, atol=1e-4, rtol=1e-4)


def test_the_words_of_a_choice_are_left_out_of_its_own_text_alone(predictors: dict[str, Predictor], video: Path) -> None:
    """BLIP's answers have a text each; the question is read with the others as it was."""
    encoded, found = explained("blip-answer", "token_ablation", predictors, video)
    answer = str(found.target)
    index = CHOICES.index(answer)
    logits, changed = (predictors["blip-answer"].candidate_logits(encoded, text, CHOICES)[1].clone() for text in ("what is it?", "is it?"))
    changed[:, 1 - index] = logits[:, 1 - index]
    loss = (logits.log_softmax(dim=1) - changed.log_softmax(dim=1))[:, index]
    assert found.pieces == ("what", "is", "it?", *answer.split())
    torch.testing.assert_close(found.tokens[:, 0], loss, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["vilt-match", "blip-match"])
def test_a_cell_that_is_left_out_cannot_be_seen(name: str, predictors: dict[str, Predictor], video: Path) -> None:
    """Of features; what BLIP's other cells saw of it before stays."""
    model, encoded = predictors[name].model, predictors[name].encode(video, num_clips=1)
    shape = model.cells(encoded.features)
    assert shape is not None
    seen = torch.ones(1, *shape, dtype=torch.bool)
    seen[0, 1, 2] = False
    changed = encoded.features.clone()
    if name == "vilt-match":
        changed[0, 0, 1, 2] += 3
    else:
        changed[0, 0, 0, 1 + shape[1] + 2] += 3
    scores = [model.score_cells(features, TEXTS, "match", seen) for features in (encoded.features, changed)]
    torch.testing.assert_close(scores[0], scores[1])
    assert not torch.allclose(scores[0], model.score_cells(changed, TEXTS, "match"))


def test_without_any_cell_blip_says_the_same_of_every_frame(predictors: dict[str, Predictor], video: Path) -> None:
    model, encoded = predictors["blip-match"].model, predictors["blip-match"].encode(video, num_clips=2)
    scores = model.score_cells(encoded.features, TEXTS, "match", torch.zeros(2, 4, 4, dtype=torch.bool))
    torch.testing.assert_close(scores[:, 0], scores[:, 1])


def test_the_faithfulness_of_cells_is_measured_by_masking_alone(predictors: dict[str, Predictor], video: Path) -> None:
    encoded, found = explained("vilt-qa", "cell_occlusion", predictors, video)
    measured = faithfulness(predictors["vilt-qa"], encoded, "what is it?", found, clip=0)
    assert measured.counts[-1] == 20
    with pytest.raises(ValueError, match=r'needs the cells of ClipBERT.*take "mask"'):
        faithfulness(predictors["vilt-qa"], encoded, "what is it?", found, clip=0, perturbation="mean")
