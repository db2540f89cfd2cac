"""Pictures, by what they draw: the same rows on screen and in print, units on axes, the model named, users' text inert."""

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_attribution_figures import PIXELS, attended, cells, frames, measured, planted, words
from test_cost import QUICK
from test_cost import point as cost_point

from clipbert.aggregation import aggregate, shapley
from clipbert.cost_panels import panels
from clipbert.edits import Change
from clipbert.sampling import POLICIES, coverage, sample_clips
from clipbert.sweep import Spent, SweepRow
from clipbert.types import Attribution, Prediction, Timeline
from clipbert.viz import figures
from clipbert.viz.chart import Reference
from clipbert.viz.style import LOOKS, THEMES, clock, plain

EVIL = '<img src=x onerror="alert(1)">{0} $x$ & "q"'
TIMELINE = Timeline.regular(300, 30.0)
SPANS = torch.tensor([[0.0, 1.0], [3.0, 4.0], [6.0, 7.0], [9.0, 10.0]], dtype=torch.float64)


def predict(logits: torch.Tensor, *, how: str = "lse", names: tuple[str, ...] = ("red", EVIL, "blue")) -> Prediction:
    scores = aggregate(logits[None], how)[0].softmax(-1)
    best = int(scores.argmax())
    times = SPANS[: len(logits)]
    return Prediction(names[best], names, scores, logits, shapley(logits, best, how).values, times, how)


LOGITS = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0, -2.0, 2.0]])
PREDICTION = predict(LOGITS)
SWEEP = [SweepRow(n, how, EVIL if n == 1 else "red", 0.5 + n / 100) for n in (1, 2, 4) for how in ("mean", "max", "lse")]
DRAWS = figures.training_draws(TIMELINE, num_clips=2, num_frames=2, fps=2.0, num_draws=50)
PARTS = {"decode": 9.0, "cnn": 1.0, "transformer": 2.0, "head": 0.5, "backward": 4.0}
COSTS = ((1, 1), (2, 1), (4, 1), (1, 2), (1, 4))
CHARTS = {
    "answers": figures.answer_bars(PREDICTION, model=EVIL),
    "contributions": figures.clip_contributions(PREDICTION, SPANS, model=EVIL, duration=10.0),
    "clip values": figures.clip_values(
        Attribution(EVIL, "clip_shapley", EVIL, clips=torch.tensor([0.5, -0.2, 0.0, 0.1]), gap=0.0),
        torch.ones(4), SPANS, model=EVIL, duration=10.0, about="mean gain",
    ),
    "answer changes": figures.answer_changes([Change("red", 0.7, 0.2), Change(EVIL, 0.3, 0.8)], model=EVIL, edit=EVIL),
    "over clips": figures.answer_over_clips(PREDICTION, model=EVIL),
    "logits": figures.logits_heat(PREDICTION, model=EVIL),
    "curve": figures.ntest_curve(SWEEP, model=EVIL, note=EVIL),
    "panels": figures.ntest_panels({EVIL: SWEEP, "paper": SWEEP, "dense": SWEEP, "random": SWEEP}, model=EVIL, spent={EVIL: {1: Spent(0.5, 0)}}),
    "matrix": figures.ntest_matrix(SWEEP, model=EVIL, num_clips=4, aggregation="lse"),
    "pooling": figures.pooling_heat(torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), ("red", EVIL), sharpness=2.0, model=EVIL),
    "responsibility": figures.responsibility_bars(torch.eye(2), ("red", EVIL), sharpness=1.0, model=EVIL),
    "data set": figures.dataset_curve(
        [figures.CurvePoint(n, "T=1", 50.0 + n, 48.0, 60.0) for n in (1, 2)],
        metric="QA accuracy", data_set=EVIL, model=EVIL, paper=[figures.PaperPoint(1, 35.73, "T=1")],
    ),
    "timeline": figures.sampling_timeline(figures.policy_lanes(TIMELINE, num_clips=3, num_frames=2, fps=2.0), TIMELINE),
    "positions": figures.draw_positions(DRAWS),
    "coverage": figures.draw_coverage(DRAWS),
    "gaps": figures.draw_gaps(DRAWS),
    "seeds": figures.seed_variance([figures.SeedAnswer(n, s, EVIL if s else "red", 0.3) for n in (1, 2) for s in range(3)], model=EVIL),
    "ranking": figures.retrieval_ranking([figures.Ranked(EVIL, 1.0, 0, 1), figures.Ranked(EVIL, -1.0, 2, 3)], EVIL, model=EVIL),
    **{f"cost {panel.letter}": figures.cost_panel(panel, model=EVIL) for panel in panels([cost_point(n, t) for n, t in COSTS])},
    "largest batch": figures.cost_panel(panels([cost_point(n, 1, max_batch=64 // n) for n in (1, 2, 4)])[0], model=EVIL),
    "breakdown": figures.cost_breakdown(QUICK, [cost_point(n, 1, parts=PARTS) for n in (1, 2)], model=EVIL),
    "faithfulness": figures.faithfulness_curves(
        replace(measured(), measured=EVIL), model=EVIL, others=[replace(measured(), method=EVIL, measured=EVIL)]
    ),
    "frames": figures.frame_values(replace(frames(), target=EVIL, value_function=EVIL, model=EVIL), clip=1),
    "words": figures.token_chips(replace(words(torch.ones(2), (EVIL, "b")), target=EVIL, value_function=EVIL, model=EVIL)),
    "cells": figures.cell_overlay(cells(planted(0, 0), target=EVIL, value_function=EVIL, model=EVIL), PIXELS),
    "two maps": figures.cell_comparison(cells(planted(0, 0), model=EVIL), cells(planted(0, 1), target=EVIL, model=EVIL), PIXELS),
    "heads": figures.attention_heads(replace(attended(), text=EVIL, model=EVIL)),
    "ranks": figures.rank_histogram([1, 1, 3, 12], num_videos=20, model=EVIL),
}  # fmt: skip
NO_MODEL = ("timeline", "positions", "coverage", "gaps")
every_chart = pytest.mark.parametrize("name", CHARTS)


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts(part)]
    return [text for part in value for text in texts(part)] if isinstance(value, list) else [value] if isinstance(value, str) else []


@every_chart
def test_an_untitled_figure_is_the_same_below_its_title(name: str) -> None:
    titled, bare = figures.screen_figure(CHARTS[name]), figures.untitled_figure(CHARTS[name])
    assert bare.layout.title.text is None and bare.data == titled.data
    assert bare.layout.height - bare.layout.margin.t == titled.layout.height - titled.layout.margin.t


@every_chart
@pytest.mark.parametrize("theme", THEMES)
def test_no_text_of_a_user_is_markup_on_screen(name: str, theme: str) -> None:
    figure = json.loads(figures.screen_figure(CHARTS[name], theme=theme).to_json())
    assert not [text for text in texts(figure) if "<img" in text or "&quot" in text]


@every_chart
def test_no_number_on_screen_is_nan(name: str) -> None:
    figure = figures.screen_figure(CHARTS[name])
    figure.layout.images = ()  # of pictures, as text
    assert "NaN" not in figure.to_json()


@every_chart
def test_axes_of_numbers_name_their_unit_or_count(name: str) -> None:
    for axis in (CHARTS[name].x, CHARTS[name].y):
        assert axis.scale in ("category", "hidden") or "(" in axis.label or axis.label in ("clips seen", "draws")


@every_chart
def test_the_model_is_named_wherever_one_had_a_part(name: str) -> None:
    chart = CHARTS[name]
    assert ("model " + EVIL in chart.subtitle) == (name not in NO_MODEL)
    assert ("model <img" in figures.print_figure(chart).get_suptitle()) == (name not in NO_MODEL)


@every_chart
def test_a_hover_shows_one_box_without_a_second_name(name: str) -> None:
    for trace in figures.screen_figure(CHARTS[name]).data:
        assert trace.hovertemplate == "%{customdata}<extra></extra>" and trace.customdata is not None


@every_chart
@pytest.mark.parametrize("width, inches", [("column", 3.3), ("page", 6.9)])
def test_print_has_the_width_of_a_column_or_page(name: str, width: str, inches: float) -> None:
    assert figures.print_figure(CHARTS[name], width=width).get_size_inches()[0] == pytest.approx(inches)


@every_chart
def test_csv_holds_every_row(name: str) -> None:
    rows = CHARTS[name].rows
    read = list(csv.DictReader(io.StringIO(figures.to_csv(rows))))
    assert len(read) == len(rows) > 0 and list(read[0]) == list(rows[0])


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@every_chart
def test_the_table_shows_users_text_as_text(name: str) -> None:
    cells = Cells()
    cells.feed(figures.to_table(CHARTS[name].rows, EVIL))
    assert set(cells.tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td"} and EVIL in cells.found
    assert cells.tags.count("tr") == len(CHARTS[name].rows) + 1


def test_a_spreadsheet_runs_no_formula() -> None:
    assert figures.to_csv([{"answer": "=1+1", "score": -1.0}]).splitlines()[1] == "'=1+1,-1.0"


def test_answer_bars_are_the_likeliest_in_order() -> None:
    figure = figures.screen_figure(CHARTS["answers"])
    shown = PREDICTION.scores.sort(descending=True)
    assert list(figure.data[0].x) == pytest.approx((100 * shown.values).tolist())
    assert figure.layout.yaxis.ticktext[0].startswith("&lt;img") and figure.layout.yaxis.autorange == "reversed"


def test_screen_and_print_draw_the_same_bars() -> None:
    screen, printed = figures.screen_figure(CHARTS["answers"]), figures.print_figure(CHARTS["answers"])
    assert [bar.get_width() for bar in printed.axes[0].patches] == pytest.approx(list(screen.data[0].x))


def test_contributions_lie_where_their_clips_lie_and_keep_their_sign() -> None:
    figure = figures.screen_figure(CHARTS["contributions"])
    drawn = {x: (y, width) for trace in figure.data for x, y, width in zip(trace.x, trace.y, trace.width, strict=True)}
    assert sorted(drawn) == [0.5, 3.5, 6.5, 9.5] and all(width == 1.0 for _, width in drawn.values())
    assert [drawn[x][0] for x in sorted(drawn)] == pytest.approx(PREDICTION.contribution.tolist())
    against = next(trace for trace in figure.data if trace.name == "against it")
    assert all(y < 0 for y in against.y)


def test_percentages_are_given_only_where_no_clip_speaks_against() -> None:
    assert min(PREDICTION.contribution) < 0 and all(row["percent"] is None for row in CHARTS["contributions"].rows)
    agreeing = figures.clip_contributions(predict(torch.tensor([[3.0, 0, 0], [2.0, 0, 0]])), SPANS[:2], model="m", duration=10.0)
    assert sum(row["percent"] for row in agreeing.rows) == pytest.approx(100)


def test_a_clip_of_a_long_film_stays_visible() -> None:
    bar = figures.screen_figure(figures.clip_contributions(PREDICTION, SPANS, model="m", duration=7200.0)).data[0]
    assert min(bar.width) == 90


@pytest.mark.parametrize("how", ["mean", "max", "lse"])
def test_the_answer_over_clips_ends_at_the_answer(how: str) -> None:
    prediction = predict(LOGITS, how=how)
    rows = figures.answer_over_clips(prediction, model="m").rows
    last = {row["answer"]: row["probability_percent"] for row in rows if row["clips_seen"] == 4}
    for name, score in zip(prediction.candidates, prediction.scores.tolist(), strict=True):
        assert last[name] == pytest.approx(100 * score, abs=1e-4)


def test_the_answer_is_stable_from_the_clip_after_its_last_change() -> None:
    logits = torch.tensor([[9.0, 0, 0], [0, 19.0, 0], [0, 0, 1.0]])
    labels = [a.text for a in figures.screen_figure(figures.answer_over_clips(predict(logits, how="max"), model="m")).layout.annotations]
    assert labels == ["stable from clip 2"]


def test_signed_colours_are_centred_at_zero() -> None:
    heat = figures.screen_figure(CHARTS["logits"]).layout.coloraxis
    assert heat.cmin == -heat.cmax and heat.cmax == max(abs(row["logit"]) for row in CHARTS["logits"].rows)
    first, last = heat.colorscale[0][1], heat.colorscale[-1][1]
    assert first == "rgb(103,0,31)" and last == "rgb(5,48,97)"  # red below 0, blue above, as in print


def test_the_last_row_of_the_logits_is_the_pooled_one() -> None:
    order = PREDICTION.scores.argsort(descending=True)
    assert list(figures.screen_figure(CHARTS["logits"]).data[0].z[-1]) == pytest.approx(aggregate(LOGITS[None], "lse")[0][order].tolist())


def test_the_matrix_outlines_the_cells_that_differ_from_the_setting() -> None:
    shapes = figures.screen_figure(CHARTS["matrix"]).layout.shapes
    assert sorted((round(s.x0 + 0.46), round(s.y0 + 0.44)) for s in shapes) == [(0, 0), (1, 0), (2, 0)]


def test_panels_share_one_scale_and_one_legend() -> None:
    figure = figures.screen_figure(CHARTS["panels"])
    axes = {figure.layout[trace.yaxis.replace("y", "yaxis")].matches for trace in figure.data}
    assert len({trace.yaxis for trace in figure.data}) == 4 and len(axes - {None}) == 1
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3
    printed = figures.print_figure(CHARTS["panels"])
    assert len({axes.get_ylim() for axes in printed.axes if axes.get_visible()}) == 1 and len(printed.legends[0].get_texts()) == 3


def test_an_answer_is_named_once_where_a_line_comes_to_it() -> None:
    answers = {1: ("red", "red"), 2: ("blue", "blue"), 4: ("blue", "red"), 8: ("red", "red")}
    sweep = [
        SweepRow(n, how, answer, 0.6 + k / 20)
        for n, pair in answers.items()
        for k, (how, answer) in enumerate(zip(("mean", "max"), pair, strict=True))
    ]
    named = {(row["num_clips"], row["aggregation"]): row["label"] for row in figures.ntest_curve(sweep, model="m").rows if row["label"]}
    assert named == {(2, "max"): "blue", (4, "max"): "red", (8, "mean"): "red"}


def test_a_point_of_a_sweep_tells_its_margin_its_seconds_and_what_it_reused() -> None:
    chart = figures.ntest_curve([SweepRow(4, "lse", "red", 0.7, 0.5)], model="m", spent={4: Spent(1.25, 3)})
    (hover,) = figures.screen_figure(chart).data[0].customdata
    assert hover == "N_test = 4, lse<br>red: 70.0 %, 50.0 points ahead of the next<br>1.25 s, 3 of 4 clips reused"


def test_aggregations_differ_in_colour_marker_and_dash() -> None:
    lines = figures.screen_figure(CHARTS["curve"]).data
    for looks in ([t.line.color for t in lines], [t.line.dash for t in lines], [t.marker.symbol for t in lines]):
        assert len(set(looks)) == 3
    axis = figures.screen_figure(CHARTS["curve"]).layout.xaxis
    assert axis.type == "log" and list(axis.tickvals) == [1, 2, 4]


def test_the_papers_numbers_are_hollow_and_say_so() -> None:
    paper = figures.screen_figure(CHARTS["data set"]).data[-1]
    assert paper.marker.symbol.endswith("-open") and paper.name == "the paper, T=1" and "the paper" in CHARTS["data set"].subtitle
    assert len(figures.screen_figure(figures.dataset_curve([figures.CurvePoint(1, "a", 1, 1, 1)], metric="m", data_set="d", model="m")).data) == 1


def test_the_timeline_shows_every_policys_clips_and_frames() -> None:
    lanes = figures.policy_lanes(TIMELINE, num_clips=3, num_frames=2, fps=2.0, seeds=(0, 7))
    assert {lane.split(",")[0] for lane in lanes} == set(POLICIES) and {"random, seed 7", "stratified, seed 0"} <= set(lanes)
    chart = figures.sampling_timeline(lanes, TIMELINE)
    grey, bars, ticks = figures.screen_figure(chart).data
    assert list(grey.x) == [10.0] * len(lanes) and len(ticks.x) == len(chart.rows) == 2 * len(bars.x)
    again = sample_clips(TIMELINE, num_clips=3, num_frames=2, fps=2.0, policy="random", generator=torch.Generator().manual_seed(7))
    drawn = [row["start_seconds"] for row in chart.rows if row["policy"] == "random, seed 7"][::2]
    assert drawn == [clip.start for clip in again]


def test_training_draws_agree_with_sampling_and_coverage() -> None:
    generator = torch.Generator().manual_seed(0)
    first = coverage(sample_clips(TIMELINE, num_clips=2, num_frames=2, fps=2.0, policy="random", generator=generator), TIMELINE)
    assert DRAWS.coverage_percent[0] == 100 * first.fraction and DRAWS.largest_gap_seconds[0] == first.largest_gap_seconds
    assert sum(row["draws"] for row in CHARTS["coverage"].rows) == sum(row["draws"] for row in CHARTS["gaps"].rows) == 50


def test_random_training_draws_under_sample_the_edges() -> None:
    seen = figures.training_draws(TIMELINE, num_clips=1, num_frames=2, fps=2.0, num_draws=400).seen_percent
    assert max(seen[0], seen[-1]) < min(seen[10:40])


def test_seeds_that_agree_are_counted() -> None:
    assert "N=1: 2 of 3 draws" in CHARTS["seeds"].subtitle
    assert {trace.name: len(trace.x) for trace in figures.screen_figure(CHARTS["seeds"]).data} == {"the most given answer": 4, "another answer": 2}


def test_ranks_fall_in_bins_up_to_the_gallery() -> None:
    rows = CHARTS["ranks"].rows
    assert [row["ranks"] for row in rows] == ["1", "2", "3–5", "6–10", "11–20"] and [row["queries"] for row in rows] == [2, 0, 1, 0, 1]
    with pytest.raises(ValueError, match="ranks must lie in 1 to 3"):
        figures.rank_histogram([4], num_videos=3, model="m")


def test_two_videos_of_one_name_stay_two_bars() -> None:
    assert list(figures.screen_figure(CHARTS["ranking"]).data[0].y) == [0, 1]


@pytest.mark.parametrize("suffix, start", [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("html", b"<!doctype html"), ("csv", b"rank,")])
def test_a_picture_is_saved_as_its_suffix_says(suffix: str, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{suffix}"
    figures.save(CHARTS["answers"], path)
    assert path.read_bytes().startswith(start)


def test_a_saved_page_needs_no_network(tmp_path: Path) -> None:
    figures.save(CHARTS["answers"], tmp_path / "a.html")
    assert '<script src="' not in (tmp_path / "a.html").read_text() and "<img src=x" not in (tmp_path / "a.html").read_text()


def test_an_unknown_suffix_or_theme_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="suffix of a picture must be one of png, svg, pdf, html, csv, got 'jpg'"):
        figures.save(CHARTS["answers"], tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="theme must be one of light, dark"):
        figures.screen_figure(CHARTS["answers"], theme="blue")


def test_pdfs_embed_fonts_that_editors_can_read() -> None:
    pdf = figures.print_bytes(CHARTS["answers"], "pdf")
    assert b"/Type3" not in pdf and b"/CIDFontType2" in pdf


@pytest.mark.parametrize("file_format", ["png", "svg", "pdf"])
def test_the_same_chart_prints_the_same_bytes(file_format: str) -> None:
    assert figures.print_bytes(CHARTS["over clips"], file_format) == figures.print_bytes(CHARTS["over clips"], file_format)


def test_a_script_without_a_font_still_prints() -> None:
    names = ("跳舞", "🎸", "blue")
    assert figures.print_bytes(figures.answer_bars(predict(LOGITS, names=names), model="m"), "png")


def test_colours_of_a_theme_are_as_many_as_looks_and_stand_out() -> None:
    for theme, page in (("light", "#ffffff"), ("dark", "#0d1117")):
        colors = THEMES[theme]
        assert len(set(colors.series)) == len(LOOKS)
        assert contrast(colors.text, page) >= 7 and contrast(colors.faint, page) >= 4.5
        assert all(contrast(color, page) >= 3 for color in colors.series[:3])


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))]
    return sum(part * c for part, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_file_names_are_shown_as_one_printable_line() -> None:
    assert plain("a\nb\x00\ud800c") == "a b��c" and plain("x" * 10, 4) == "xxx…"


@pytest.mark.parametrize("seconds, shown", [(3.2, "00:03.2"), (59.97, "01:00.0"), (7261.5, "2:01:01.5")])
def test_times_read_as_clocks(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_the_papers_largest_batches_are_hollow_and_only_beside_a_largest_batch() -> None:
    hollow = [row for row in CHARTS["largest batch"].rows if row["source"] == "the paper, V100 of 32 GB"]
    assert [(row["num_clips"], row["max_batch"]) for row in hollow] == [(2, 190), (16, 16)]
    assert all(row["source"].startswith("measured here") for row in CHARTS["cost a"].rows)
    assert "190 at 2" in CHARTS["cost a"].caption and "no fixed memory" in CHARTS["cost a"].caption


def test_a_cost_panel_tells_its_line_and_what_the_paper_gained() -> None:
    assert "line 5 + 10 N_train ms, R² 1.000" in CHARTS["cost b"].caption and "the paper's R@1: 12.7 % at 1" in CHARTS["cost b"].caption


def test_a_cost_point_tells_how_it_was_measured_and_what_a_second_does() -> None:
    points = [cost_point(n, 1, reserved_bytes=3_000_000) for n in (1, 2, 4)]
    hover = figures.screen_figure(figures.cost_panel(panels(points)[1], model="m")).data[0].customdata[0]
    assert f"of {QUICK.repeats} passes" in hover and f"{1000 * QUICK.batch_size / points[0].milliseconds:.3g} clips/s" in hover
    assert "no checkpointing" in hover and "3 MB reserved" in hover
    assert "8 times the clips leave a batch 11.9 times smaller" in CHARTS["largest batch"].caption


def test_the_papers_recall_has_an_axis_of_its_own_beside_time_alone() -> None:
    (recall,) = [mark for mark in CHARTS["cost d"].marks if isinstance(mark, Reference) and mark.on_right]
    assert (recall.rows[0]["num_frames"], recall.rows[0]["recall_at_1_percent"]) == (1, 10.2)
    assert CHARTS["cost d"].right is not None and CHARTS["cost a"].right is None


def test_the_line_of_the_fit_passes_through_points_that_lie_on_it() -> None:
    (line,) = [mark for mark in CHARTS["cost b"].marks if isinstance(mark, Reference) and not mark.on_right]
    measured = {row["num_clips"]: row["milliseconds_ms"] for row in CHARTS["cost b"].rows}
    ends = {round(row["num_clips"]): row["milliseconds_ms"] for row in (line.rows[0], line.rows[-1])}
    assert ends == pytest.approx({n: measured[n] for n in (1, 4)}) and "R² 1.000" in line.name


def test_parts_of_a_step_lie_one_after_the_other() -> None:
    first = [row for row in CHARTS["breakdown"].rows if row["point"] == "N_train = 1, T = 1"]
    assert [row["start_ms"] for row in first] == [0, 9, 10, 12, 12.5]
    assert [row["part"] for row in first] == ["decode", "CNN", "transformer", "head and loss", "backward"]


def test_a_cost_panel_needs_a_point() -> None:
    with pytest.raises(ValueError, match="panel a has no measured point"):
        figures.cost_panel(panels([])[0], model="small")


def test_a_printed_picture_is_white_so_that_its_text_reads_on_a_dark_page() -> None:
    with Image.open(io.BytesIO(figures.print_bytes(CHARTS["answers"], "png"))) as image:
        assert image.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255)
