"""The endpoints return what the commands print, and refuse bad input in one line."""

from pathlib import Path
from typing import Any

import pytest
from conftest import GOLDEN
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from test_predict import make_predictor

VIDEO = GOLDEN / "video_a30.mp4"


def test_ask_equals_the_package(client: Any) -> None:
    found = client.predict(handle_file(VIDEO), "what colour?", 3, 2, "official", "mean", 0, api_name="/ask")
    predictor = make_predictor()
    prediction = predictor.answer(predictor.encode(VIDEO, num_clips=3, policy="official"), "what colour?", aggregation="mean")
    assert found["answer"] == prediction.answer and found["model"] == "tiny" and len(found["clips"]) == 3
    assert found["scores"] == pytest.approx(prediction.scores.tolist(), abs=1e-5)
    assert [clip["contribution"] for clip in found["clips"]] == pytest.approx(prediction.contribution.tolist(), abs=1e-5)


def test_multiple_choice_asks_among_the_answers_that_are_listed(client: Any) -> None:
    found = client.predict(handle_file(VIDEO), "what colour?", "red\nblue", 2, api_name="/multiple_choice")
    predictor = make_predictor()
    expected = predictor.answer(predictor.encode(VIDEO, num_clips=2), "what colour?", choices=["red", "blue"], aggregation="lse")
    assert found["candidates"] == ["red", "blue"] and found["scores"] == pytest.approx(expected.scores.tolist(), abs=1e-5)
    rows = client.predict(handle_file(VIDEO), "what colour?", choices="red\nblue", api_name="/sweep")["rows"]
    assert {row["answer"] for row in rows} <= {"red", "blue"}


def test_sample_names_source_frames(client: Any) -> None:
    found = client.predict(handle_file(VIDEO), num_clips=2, policy="centered", api_name="/sample")
    assert len(found["clips"]) == 2 and all(len(clip["frames"]) == 2 for clip in found["clips"])


def test_sweep_has_a_row_for_each_size_and_aggregation(client: Any) -> None:
    rows = client.predict(handle_file(VIDEO), "what colour?", api_name="/sweep")["rows"]
    assert {(row["num_clips"], row["aggregation"]) for row in rows} == {(n, how) for n in (1, 2, 4, 8, 16) for how in ("mean", "max", "lse")}


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"question": " "}, "question"), ({"policy": "best"}, "policy"), ({"num_clips": 0}, "between 1 and 256"), ({"seed": -1}, "seed")],
)
def test_bad_input_is_told_in_one_line_without_a_path(client: Any, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(**{"video": handle_file(VIDEO), "question": "what?", **settings}, api_name="/ask")
    assert told in str(caught.value) and "Traceback" not in str(caught.value)


def test_a_file_of_the_server_cannot_be_asked_about(client: Any) -> None:
    with pytest.raises(AppError):
        client.predict({"path": str(Path(__file__).resolve()), "meta": {"_type": "gradio.FileData"}}, "what?", api_name="/ask")


def test_only_the_documented_endpoints_are_public(client: Any) -> None:
    described = client.view_api(return_format="dict")["named_endpoints"]
    assert {"/ask", "/multiple_choice", "/sample", "/sweep"} <= set(described)
    assert all("private" not in name for name in described)
    names = [parameter["parameter_name"] for parameter in described["/ask"]["parameters"]]
    assert names == ["video", "question", "num_clips", "num_frames", "policy", "aggregation", "seed"]
