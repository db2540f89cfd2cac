"""The app over other models than ClipBERT: what they have works, what they have not is said in one line."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from app_fixtures import fresh_page, running_app
from conftest import GOLDEN
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from hf_models import WRITERS, write_clip, write_vilt_qa
from test_predict import make_predictor

from clipbert.predict import Predictor

pytestmark = pytest.mark.slow
VIDEO = GOLDEN / "video_a30.mp4"
WITHOUT_MATCH = ("vilt-qa", "blip-answer", "answering")


@pytest.fixture(scope="module")
def vilt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = write_vilt_qa(tmp_path_factory.mktemp("vilt"))
    own = Predictor.from_pretrained(f"hf:{folder}", device="cpu")
    with running_app(own, tmp_path_factory, others={"clipbert": make_predictor}) as url:
        client = Client(url, verbose=False)
        yield client
        client.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = write_clip(tmp_path_factory.mktemp("clip"))
    with running_app(Predictor.from_pretrained(f"hf:{folder}", device="cpu"), tmp_path_factory) as url:
        client = Client(url, verbose=False)
        yield client
        client.close()


def test_vilt_answers_sweeps_and_is_explained_by_cells(vilt: Any) -> None:
    answer = vilt.predict(handle_file(VIDEO), "what is it?", 2, 1, api_name="/ask")
    assert answer["answer"] in ("red", "green", "car") and len(answer["clips"]) == 2
    assert len(vilt.predict(handle_file(VIDEO), "what is it?", api_name="/sweep")["rows"]) == 15
    explained = vilt.predict(handle_file(VIDEO), "what is it?", 2, 1, method="cell_occlusion", clip=1, api_name="/attribute")
    assert explained["method"] == "cell_occlusion"


def test_two_models_answer_beside_each_other(vilt: Any, browser: Any) -> None:
    with fresh_page(browser, vilt.src) as page:
        page.click("#tab-ntest-button")
        page.fill("#sweep-question textarea, #sweep-question input", "what is it?")
        page.click("#models > button")
        page.click("#models-compare")
        page.wait_for_selector("#models-votes table")
        votes = page.locator("#models-votes").inner_text()
        assert "clipbert (the other)" in votes
        assert len(re.findall(r"to\s\S+\t(red|green|car) \d+\s%\t(≠ )?(red|green|blue|white) \d+\s%", votes)) == 16


def test_vilt_without_a_match_score_cannot_search(vilt: Any) -> None:
    with pytest.raises(AppError, match="has no match score"):
        vilt.predict([handle_file(VIDEO)], "a red car", api_name="/retrieve")


def test_clip_searches_and_is_explained_by_clips_and_cells(clip: Any) -> None:
    assert len(clip.predict([handle_file(VIDEO)], "a red car", api_name="/retrieve")["hits"]) == 1
    explained = clip.predict(handle_file(VIDEO), "a red car", 2, 1, task="match", api_name="/attribute")
    assert explained["method"] == "clip_shapley"
    explained = clip.predict(handle_file(VIDEO), "a red car", 2, 1, task="match", method="cell_occlusion", clip=1, api_name="/attribute")
    assert len(explained["clips"][0]["cells"]) == 7


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"api_name": "/ask"}, "give choices"), ({"api_name": "/attribute", "task": "match", "method": "cell_grad_cam"}, "reads the layers")],
)
def test_what_clip_cannot_do_is_told(clip: Any, settings: dict[str, str], told: str) -> None:
    with pytest.raises(AppError, match=told):
        clip.predict(handle_file(VIDEO), "what is it?", **settings)


def test_clip_is_explained_at_every_level_on_the_page(clip: Any, browser: Any) -> None:
    with fresh_page(browser, clip.src, answered="#ask-notice :text('give choices')") as page:
        page.click("#tab-attribution-button")
        page.fill("#attribution-text textarea, #attribution-text input", "a red car")
        page.click("#attribution-kind label:has-text('caption')")
        page.click("#explain")
        page.locator("#attribution-clips button").first.click()
        page.wait_for_selector("#attribution-tokens .word")
        assert page.locator("#attribution-cells .cell").count() == 49 and page.locator("#attribution-tokens .word").count() == 3
        assert page.locator("#attribution-notice").inner_text().strip() == ""


@pytest.mark.parametrize("family", WRITERS)
def test_what_the_tabs_ask_works_with_every_family(family: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, choices = WRITERS[family](tmp_path_factory.mktemp(family)), "red\ngreen"
    with running_app(Predictor.from_pretrained(f"hf:{folder}", device="cpu"), tmp_path_factory) as url:
        client = Client(url, verbose=False)
        video = handle_file(VIDEO)
        assert client.predict(video, "what is it?", choices, 2, 1, api_name="/multiple_choice")["answer"] in ("red", "green")
        assert len(client.predict(video, "what is it?", choices=choices, api_name="/sweep")["rows"]) == 15
        for method, level in (("clip_shapley", "contributions"), ("cell_occlusion", "cells"), ("token_ablation", "tokens")):
            explained = client.predict(
                video, "what is it?", 2, 1, method=method, clip=0 if level == "contributions" else 1, choices=choices, api_name="/attribute"
            )
            assert explained["method"] == method and (level == "contributions" or explained["clips"][0][level])
        if family in WITHOUT_MATCH:
            with pytest.raises(AppError, match="has no match score"):
                client.predict([video], "a red car", api_name="/retrieve")
        else:
            assert len(client.predict([video], "a red car", api_name="/retrieve")["hits"]) == 1
        client.close()
