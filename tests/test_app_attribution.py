"""Attribution in the app: which clips moved the score, by clicks and by the endpoint, equal to the package."""

from typing import Any

import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from test_app_api import VIDEO
from test_predict import make_predictor

from clipbert.attribution import attribute
from clipbert.faithfulness import faithfulness


@pytest.fixture
def tab(page: Any) -> Any:
    page.click("#tab-attribution-button")
    page.wait_for_selector("#explain")
    return page


def test_the_last_question_is_explained_and_its_values_add_up(tab: Any) -> None:
    assert tab.input_value("#attribution-text textarea") == "what is the man riding?"
    tab.click("#explain")
    tab.wait_for_selector("#attribution-clips [data-clip]")
    assert tab.locator("#attribution-clips [data-clip]").count() == 4
    said = tab.inner_text("#attribution-clips-lines")
    assert "The values add up: sum" in said and "gap 0.0 %" in said and "model tiny" in tab.inner_text("#attribution-clips")
    assert "not whether the model is right" in tab.inner_text("#attribution-about")
    assert "Tested:" in said, "the clips' map stands beside the verdict of its test"
    standing = tab.inner_text("#attribution-standing")
    assert "percentage points ahead of" in standing and "This is wrong" in standing and "Why " in standing


def test_a_clip_of_the_sorted_list_plays_and_shows_its_frames(tab: Any) -> None:
    tab.click("#explain")
    tab.wait_for_selector("#attribution-clips .clip-bars")
    tab.click("#attribution-order input[value='by value']")
    tab.wait_for_selector("#attribution-clips .clip-list")
    values = [float(text) for text in tab.locator("#attribution-clips .clip-list button > span:last-child").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    tab.click("#attribution-clips [data-clip='2']")
    tab.wait_for_selector("#attribution-frames img")
    assert "clip 3" in tab.inner_text("#attribution-frames-heading")
    tab.wait_for_function("document.querySelector('#player video').currentTime > 0")


def test_a_bar_of_an_answer_that_was_not_given_opens_why_not(page: Any) -> None:
    given = page.inner_text("#answer .big b")
    why = page.locator("#answer .why-not").first
    other = why.get_attribute("data-versus")
    why.click()
    page.wait_for_selector("#attribution-standing .standing")
    assert page.get_by_role("tab", name="Attribution").get_attribute("aria-selected") == "true"
    assert [page.input_value(f"#attribution-{box} input") for box in ("target", "versus")] == [given, other]


def test_why_not_another_answer_needs_that_answer_and_turns_the_target(tab: Any) -> None:
    tab.click("#attribution-kind input[value='Why not another answer']")
    tab.click("#explain")
    assert "name the other answer" in tab.inner_text("#attribution-notice .bad")
    tab.fill("#attribution-target input", "red")
    tab.fill("#attribution-versus input", "blue")
    tab.keyboard.press("Enter")
    tab.click("#explain")
    tab.wait_for_function("document.querySelector('#attribution-clips-heading')?.innerText.includes('red rather than blue')")
    tab.click("#attribution-clips-method input")
    tab.get_by_role("option", name="Leave one out").click()
    tab.wait_for_function("document.querySelector('#attribution-clips-lines')?.innerText.includes('need not add up')")
    tab.click("#attribution-clips-files > button")
    with tab.expect_download() as download:
        tab.click("#attribution-clips-csv")
    assert download.value.path().read_text().startswith("clip,start,end,value")


def test_an_answer_among_choices_is_explained_among_them(page: Any) -> None:
    page.click("#mode input[value='Multiple choice']")
    page.fill("#texts textarea", "red\nblue")
    page.click("#tab-attribution-button")
    page.wait_for_function("document.querySelector('#attribution-choices textarea').value == 'red\\nblue'")
    page.click("#explain")
    page.wait_for_function("document.querySelector('#attribution-clips')?.innerText.includes('guess -log 2')")
    assert "gap 0.0 %" in page.inner_text("#attribution-clips-lines")
    page.click("#attribution-kind input[value='Why this caption fits']")
    page.wait_for_selector("#attribution-choices", state="hidden")


@pytest.mark.parametrize(
    "wanted", [{}, {"method": "clip_leave_one_out", "target": "red"}, {"target": "red", "versus": "blue"}, {"task": "match"}], ids=str
)
def test_the_endpoint_equals_the_package(client: Any, wanted: dict[str, str]) -> None:
    found = client.predict(handle_file(VIDEO), "what colour?", 3, aggregation="mean", **wanted, api_name="/attribute")
    expected = attribute(make_predictor(), make_predictor().encode(VIDEO, num_clips=3, policy="paper"), "what colour?", aggregation="mean", **wanted)
    assert expected.clips is not None and found["target"] == expected.target and found["model"] == "tiny" and found["unit"] == "nats"
    assert [clip["value"] for clip in found["clips"]] == pytest.approx(expected.clips.tolist(), abs=1e-5)


def test_the_endpoint_looks_inside_one_clip(client: Any) -> None:
    found = client.predict(handle_file(VIDEO), "what colour?", 3, method="cell_occlusion", clip=2, api_name="/attribute")
    encoded = make_predictor().encode(VIDEO, num_clips=3, policy="paper")
    expected = attribute(make_predictor(), encoded, "what colour?", method="cell_occlusion", clips=[1])
    assert [one["clip"] for one in found["clips"]] == [2] and found["level"] == "cells"
    assert found["clips"][0]["cells"] == pytest.approx(expected.values[0].numpy(), abs=1e-5)
    with pytest.raises(AppError, match="clip"):
        client.predict(handle_file(VIDEO), "what colour?", 3, method="cell_occlusion", clip=4, api_name="/attribute")


def test_an_endpoint_tests_a_map_as_the_package_does(client: Any) -> None:
    found = client.predict(handle_file(VIDEO), "what colour?", 3, method="token_ablation", clip=2, api_name="/faithfulness")
    encoded = make_predictor().encode(VIDEO, num_clips=3, policy="paper")
    own = attribute(make_predictor(), encoded, "what colour?", method="token_ablation", clips=[1])
    expected = faithfulness(make_predictor(), encoded, "what colour?", own)
    assert [tested["method"] for tested in found["faithfulness"]] == ["token_ablation", "token_integrated_gradients", "token_relevance"]
    assert found["faithfulness"][0]["summary"] == pytest.approx(expected.summary(), abs=1e-5) and not found["no_map"]
    assert found["checks"]["method"] == "token_ablation" and len(found["checks"]["rank_agreements"]) == 3
    with pytest.raises(AppError, match="clip says which of the 3 clips"):
        client.predict(handle_file(VIDEO), "what colour?", 3, method="token_ablation", api_name="/faithfulness")


def test_the_endpoint_names_near_answers_for_one_that_does_not_exist(client: Any) -> None:
    with pytest.raises(AppError, match="the nearest are"):
        client.predict(handle_file(VIDEO), "what colour?", 2, target="rad", api_name="/attribute")
