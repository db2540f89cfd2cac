"""The Tables tab: the paper's numbers beside ours, and files of the user's own checked before they count."""

import json
from pathlib import Path
from typing import Any

import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from app.table_views import claims_html, conclusions_html, overview_html, table_html
from clipbert.comparison import read_result
from clipbert.results import tables_result


def write_result(folder: Path, value: float, *, scale: str = "full", name: str = "run.json") -> Path:
    cell = {"table": "7a", "row": ["ClipBERT 8×2"], "column": "R1", "value": value}
    (folder / name).write_text(json.dumps({"scale": scale, "num_examples": 60, "paper_cells": [cell]}))
    return folder / name


def test_ours_stands_beside_the_paper_with_its_interval_and_seeds(tmp_path: Path) -> None:
    table = tables_result(7, read_result(write_result(tmp_path, 21.6)))["tables"][0]
    shown = table_html(table, all_rows=True)
    assert "22.0 % <span class=soft>[19.5, 24.7]</span>" in shown and "21.6 % <span" in shown
    assert "-0.4" in shown and "✓ reproduced" in shown and "<td>1</td>" in shown and "Smaller runs" not in shown


def test_a_smaller_run_never_stands_in_the_column_of_ours(tmp_path: Path) -> None:
    table = tables_result(7, read_result(write_result(tmp_path, 51.7, scale="synthetic, 60 videos")))["tables"][0]
    full, smaller = table_html(table, all_rows=True).split("Smaller runs")
    assert "51.7" not in full and "~ scaled-down" in full
    assert "51.7 %" in smaller and "synthetic, 60 videos" in smaller


def test_rows_of_other_methods_can_be_left_out_and_grey_ones_are_marked() -> None:
    table = tables_result(7, [])["tables"][0]
    assert 'class="grey"' in table_html(table, all_rows=True) and "(20.5 %" in table_html(table, all_rows=True)
    assert "HERO" not in table_html(table, all_rows=False)


def test_every_table_and_claim_can_be_drawn() -> None:
    result = tables_result(None, [])
    assert overview_html(result).count("<tr>") == 1 + len(result["tables"]) == 16
    assert all("<table" in table_html(table, all_rows=True) for table in result["tables"])
    assert claims_html(result).count("✓ holds") == 16
    assert "+0.20 ± 3.2</td><td>within the noise" in conclusions_html(result)


def test_the_endpoint_counts_a_file_of_ours(client: Any, tmp_path: Path) -> None:
    found = client.predict(7, [handle_file(write_result(tmp_path, 30.0))], api_name="/tables")
    cell = next(c for c in found["tables"][0]["cells"] if c["row"] == ["ClipBERT 8×2"] and c["column"] == "R1")
    assert cell["status"] == "deviates" and cell["difference"] == 8.0 and cell["files"] == ["run.json"]


def test_the_endpoint_refuses_a_table_that_does_not_exist_and_a_file_of_another_kind(client: Any, tmp_path: Path) -> None:
    with pytest.raises(AppError, match="Tables 1 to 11"):
        client.predict(12, [], api_name="/tables")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(AppError, match="paper_cells"):
        client.predict(7, [handle_file(tmp_path / "other.json")], api_name="/tables")


def test_a_table_is_chosen_and_a_run_of_the_users_added(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Tables").click()
    page.wait_for_selector("#tables-view table")
    page.click("#tables-choice input")
    page.get_by_role("option", name="Table 7a").click()
    page.wait_for_selector("#tables-view h2")
    page.click("#tables-import button")
    page.set_input_files("#tables-files input[type=file]", str(write_result(tmp_path, 21.6)))
    page.wait_for_selector("#tables-view :text('reproduced')")


def test_a_file_that_measured_nothing_of_the_paper_is_refused_in_the_page(page: Any, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    page.get_by_role("tab", name="Tables").click()
    page.click("#tables-import button")
    page.set_input_files("#tables-files input[type=file]", str(tmp_path / "other.json"))
    page.wait_for_selector("#tables-import-notice .bad")
    assert "other.json names none" in page.inner_text("#tables-import-notice .bad")
