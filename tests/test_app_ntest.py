"""The N_test tab in a browser: one sweep, cells that lead to Ask, pooling moved by hand, and scores over many videos."""

from pathlib import Path
from typing import Any

import pytest
from videos import write_video


@pytest.fixture
def tab(kept: Any) -> Any:
    kept.click("#tab-ntest-button")
    kept.fill("#sweep-question textarea, #sweep-question input", "what colour?")
    return kept


@pytest.fixture
def swept(tab: Any) -> Any:
    if not tab.locator("#ntest-matrix button").count():
        tab.click("#sweep")
    tab.wait_for_function("document.querySelectorAll('#ntest-matrix button').length >= 15")
    return tab


def test_a_sweep_fills_curve_and_matrix_under_the_models_name(swept: Any) -> None:
    swept.wait_for_selector("#ntest-curve-plot .js-plotly-plot")
    assert "model tiny" in swept.inner_text("#ntest-matrix caption")
    assert swept.locator("#ntest-matrix button.setting").count() == 1


def test_another_aggregation_moves_the_chosen_cell_without_the_model(swept: Any) -> None:
    swept.click("#settings button")
    swept.click("#aggregation label:has-text('max')")
    swept.wait_for_function("document.querySelector('#ntest-matrix button.setting').dataset.how == 'max'")


def test_a_cell_asks_in_its_setting(swept: Any) -> None:
    swept.click("#ntest-matrix button[data-clips='4'][data-how='mean']")
    swept.wait_for_selector("#question textarea", state="visible")
    assert swept.input_value("#question textarea") == "what colour?"
    swept.wait_for_function("document.querySelector('#answer').innerText.includes('mean')")
    swept.click("#settings button")
    swept.wait_for_function("document.querySelector('#num-clips input[type=number]')?.value == '4'")


def test_the_pooling_slider_has_its_pictures(swept: Any) -> None:
    swept.click("#explainer button")
    swept.wait_for_selector("#pooling-heat-plot .js-plotly-plot")
    swept.wait_for_selector("#responsibility-plot .js-plotly-plot")


def test_policies_have_a_panel_each_and_stop_between_points(tab: Any) -> None:
    tab.click("#policies button")
    tab.click("#policies-compare")
    tab.wait_for_function("document.querySelectorAll('#ntest-panels-plot .subplot').length >= 3")
    assert {"paper", "official", "centered"} <= set(tab.inner_text("#ntest-panels-plot").split())


def test_the_examples_on_which_the_poolings_disagree_come_first(tab: Any) -> None:
    tab.click("#disagreements button")
    tab.click("#disagreements-check")
    tab.wait_for_function("document.querySelectorAll('#disagreements-found tbody tr').length == 6")
    shown = tab.eval_on_selector_all("#disagreements-found tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))")
    columns = tab.eval_on_selector_all("#disagreements-found th[scope=col]", "heads => heads.map(head => head.innerText.toLowerCase())")
    rows = [dict(zip(columns, row, strict=True)) for row in shown]
    apart = [len({row[how] for how in ("mean", "max", "lse")}) > 1 for row in rows]
    assert apart == sorted(apart, reverse=True)
    assert len({row["example"] for row in rows}) == 6
    assert tab.inner_text("#disagreements-found caption").startswith(f"{sum(apart)} of 6 examples depend on the aggregation; N_test = ")


def test_an_empty_question_is_refused(tab: Any) -> None:
    tab.fill("#sweep-question textarea, #sweep-question input", " ")
    tab.click("#sweep")
    assert "question" in tab.inner_text("#sweep-notice .bad")


def test_a_users_videos_are_scored(tab: Any, tmp_path: Path) -> None:
    video, rows = write_video(tmp_path / "one.mp4", num_frames=20), tmp_path / "rows.jsonl"
    rows.write_text('{"video": "one", "question": "what colour?", "answer": "red"}\n')
    tab.click("#data-set button")
    tab.click("#data-set-which label:has-text('my videos')")
    tab.set_input_files("#data-set-files input[type=file]", [str(video), str(rows)])
    tab.wait_for_function("document.querySelector('#data-set-files').innerText.includes('rows')")
    tab.click("#evaluate")
    tab.wait_for_selector("#data-set-curve-plot .js-plotly-plot")
    assert "1 of 1 videos, 1 questions" in tab.inner_text("#data-set-said")
