"""The Cost tab: points appear one by one, Stop ends the process that measures, and the endpoint returns the command's JSON."""

from typing import Any

import pytest
from gradio_client.exceptions import AppError


def test_the_endpoint_measures_and_returns_the_panels(client: Any) -> None:
    found = client.predict("small", 1, 1, 1, api_name="/cost")
    (row,) = found["rows"]
    assert (row["num_clips"], row["num_frames"]) == (1, 1) and row["milliseconds"] > 0
    assert [panel["panel"] for panel in found["panels"]] == list("abcd")


@pytest.mark.parametrize(("settings", "told"), [({"model": "../etc"}, "model must be one of"), ({"largest": 0}, "largest must be at least 1")])
def test_the_endpoint_refuses_bad_settings(client: Any, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(AppError, match=told):
        client.predict(**settings, api_name="/cost")


def test_points_are_drawn_as_they_come_and_stop_leaves_the_rest(page: Any) -> None:
    page.get_by_role("tab", name="Cost").click()
    page.set_viewport_size({"width": 390, "height": 844})  # its legends then take several lines
    page.fill("#cost-repeats input[type=number]", "1")
    page.fill("#cost-cap input", "32")
    page.press("#cost-cap input", "Tab")
    page.click("#cost-go")
    page.wait_for_selector("#cost-b .js-plotly-plot", timeout=90_000)
    assert "Largest batch, predicted" in page.inner_text("#cost-a-caption")
    assert "random weights" in page.inner_text("#cost-b")
    page.wait_for_selector("#cost-parts .js-plotly-plot .legend")
    page.click("#cost-stop")
    page.wait_for_selector("#cost-state .partial", timeout=60_000)
    assert "stopped after" in page.inner_text("#cost-state") and "of 9 points" in page.inner_text("#cost-state")
