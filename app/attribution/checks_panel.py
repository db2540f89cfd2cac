"""More metrics of the map that is tested: each says something else of it, and some take a while."""

import csv
import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.attribution.explained import CHEFER, Explained, Look, Way
from app.attribution.method_names import method_label
from app.attribution.watched import state_html, told
from app.pictures import save_buttons
from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from clipbert.checkup import Checkup
    from clipbert.faithfulness_curves import Faithfulness

ABOUT = (
    "**Comprehensiveness** and **sufficiency**: what is lost without the first units, and with them alone. **Infidelity**: which part of the score's "
    "changes the values leave unexplained. **Sensitivity**: how far the map moves as the features change by 2 %. **Sign violations**: units said to "
    "raise the score whose absence raises it. **Rank agreement** (Spearman) of every two methods, and with the map of models whose layers are made "
    "random from the top down: it should fall, since a map that stays shows the input, whatever the model has learned."
)
KEPT = "faithfulness-checks"


class ChecksPanel:
    """`cleared` empties it."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared, self.notice = shared, notice
        with gr.Accordion("More metrics", open=False, elem_id="checks"):
            gr.Markdown(ABOUT)
            with gr.Row():
                self.go = gr.Button("Compute", min_width=110, scale=0, elem_id="checks-go")
                self.stop = gr.Button("Stop", min_width=80, scale=0, elem_id="checks-stop")
            self.state = gr.HTML(elem_id="checks-state")
            self.tables = gr.HTML(elem_id="checks-tables", elem_classes="scrolls")
            with gr.Column(visible=False, elem_id="checks-files") as self.files:
                save_buttons(shared, "checks", notice, {"csv": _write_csv, "json": _write_json})
        self.outputs = [self.state, self.tables, self.files]

    def wire(self, chosen: list[gr.Radio], map_to_test: Callable[[Session, str], tuple[Explained, Look]]) -> None:
        """`chosen` are the level, the way of taking units away and the steps; `map_to_test` finds the map that is open at a level."""
        self.map_to_test = map_to_test
        self.shared.on(self.go.click, self.run, chosen, self.outputs, notice=self.notice, concurrency_id="model", show_progress="hidden")
        self.shared.stops(self.stop)

    def run(self, session: Session, level: str, perturbation: str, steps: str) -> Iterator[Updates]:
        from clipbert.checkup import num_maps

        session.stop.clear()
        shown, look = self.map_to_test(session, level)
        predictor, way = self.shared.engine.predictor(), Way(perturbation, steps == CHEFER)
        yield self.cleared() | {self.state: state_html("preparing …")}
        test = yield from told(lambda progress: shown.test(predictor, look, way, progress), session.stop, self.state, "{stage}:")
        if test is None:
            return
        without = []
        for other in shown.other_looks(look):
            yield {self.state: state_html(f"{method_label(other.method)}: computing its map …")}
            try:
                shown.map(predictor, other)
            except ValueError as error:
                without.append(f"{method_label(other.method)}: {error}")
        again = num_maps(predictor, level)
        expected = f"the map is made {again} times more, some {shown.seconds[shown.score, look] * again:.0f} s; {{stage}}:"
        checked = yield from told(lambda progress: shown.check(predictor, look, way, progress), session.stop, self.state, expected)
        if checked is None or session.results.get("attribution") is not shown:
            return
        session.kept[KEPT] = test, checked
        yield {self.state: "", self.tables: tables_html(test, checked, without), self.files: gr.Column(visible=True)}

    def cleared(self) -> Updates:
        return {self.state: "", self.tables: "", self.files: gr.Column(visible=False)}


def tables_html(test: "Faithfulness", checked: "Checkup", without: list[str]) -> str:
    """The rationales, the numbers, the agreement of methods; `without` says why a method has no map."""
    from clipbert.viz.figures import to_table

    where = f"{test.num_units} {test.level}, {test.method}"
    metrics = [{name: "none is positive" if value is None and name == "value" else value for name, value in row.items()} for row in checked.rows()]
    said = [f"{name}: {why}" for name, why in checked.left_out.items()] + without
    if checked.randomisation is not None:
        said.insert(0, f"Random layers: {checked.randomisation.verdict}")
    return (
        to_table(rationale_rows(test), caption=f"Comprehensiveness (high is good) and sufficiency (low is good): {test.measured}, {where}")
        + to_table(metrics, caption=f"Single numbers: {where}; random: what a map that knows nothing has")
        + "".join(f'<p class="completeness">{html.escape(line)}</p>' for line in said)
        + (to_table(agreement_rows(checked), caption="Rank agreement of the methods' maps (Spearman's rho)") if checked.agreements else "")
    )


def rationale_rows(test: "Faithfulness") -> list[dict[str, Any]]:
    """At each share of the units: of the map's order, and of random ones."""
    from clipbert.faithfulness_curves import RATIONALE_SHARES

    summary = test.summary()
    return [
        {"metric": name, "order": order, **{f"{share:.0%}": summary[f"{name}_{share:.0%}{suffix}"] for share in RATIONALE_SHARES}}
        for name in ("comprehensiveness", "sufficiency")
        for order, suffix in (("the map's", ""), ("random, mean", "_random"))
    ]


def agreement_rows(checked: "Checkup") -> list[dict[str, Any]]:
    """A row and a column for each method; empty where a map gives all units the same value."""
    names = list(dict.fromkeys(name for pair in checked.agreements for name in (pair.first, pair.second)))
    rho = {frozenset((pair.first, pair.second)): pair.rho for pair in checked.agreements}
    return [{"method": method_label(a), **{method_label(b): 1.0 if a == b else rho[frozenset((a, b))] for b in names}} for a in names]


def _write_csv(session: Session, path: Path) -> None:
    test, checked = session.kept[KEPT]
    rows = [
        {"metric": f"{row['metric']} {share}", "order": row["order"], "value": value}
        for row in rationale_rows(test) for share, value in row.items() if share not in ("metric", "order")
    ]  # fmt: skip
    rows += [{"metric": row["metric"], "order": "", "value": row["value"]} for row in checked.rows()]
    rows += [{"metric": f"rank agreement {pair.first} {pair.second}", "order": "", "value": pair.rho} for pair in checked.agreements]
    columns: list[str] = ["metric", "order", "value"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_json(session: Session, path: Path) -> None:
    from clipbert.results import checkup_result, faithfulness_result

    test, checked = session.kept[KEPT]
    path.write_text(json.dumps({"faithfulness": faithfulness_result(test), "checks": checkup_result(checked)}, indent=1), encoding="utf-8")
