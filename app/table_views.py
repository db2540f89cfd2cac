"""The paper's tables beside ours as HTML: a line a number, smaller runs in a block of their own."""

import html
from collections import Counter
from itertools import groupby
from typing import Any

from clipbert.show_tables import MARKS, number

Result = dict[str, Any]  # of clipbert.results.tables_result, or a part of it
MEANINGS = {
    "reproduced": "within 1 point, or rank, of the paper",
    "deviates": "further from the paper than 1 point or rank",
    "scaled-down": "only smaller runs exist; they stand below and never count as ours",
    "not run": "we have no result",
    "cited": "another method's number, which the paper cites",
    "setting": "a choice of the paper's training, not a result",
}


def overview_html(result: Result) -> str:
    """A line a table: how many of its numbers have which status."""
    lines = []
    for table in result["tables"]:
        counts = Counter(cell["status"] for cell in table["cells"])
        told = ", ".join(f"{count} {status}" for status, count in counts.items())
        lines.append([_text(f"Table {table['table']}"), _text(table["title"]), _text(told)])
    return _grid(("table", "what it shows", "the status of its numbers"), lines)


def table_html(table: Result, *, all_rows: bool) -> str:
    """One table; rows of other methods only where `all_rows`."""
    page = f", page {table['page']}" if table["page"] else ""
    note = f"<p class=soft>{html.escape(table['note'])}</p>" if table["note"] else ""
    heading = (
        f"<h2 class=chart-title>Table {table['table']}: {html.escape(table['title'])}</h2><p class=soft>section {table['section']}{page}</p>{note}"
    )
    if all(cell["status"] == "setting" for cell in table["cells"]):
        return heading + _settings(table)
    shown = [cell for cell in table["cells"] if all_rows or cell["status"] != "cited"]
    lines, names = [], [*table["row_names"], "number", "the paper", "ours", "difference", "status", "seeds"]
    for row, cells in groupby(shown, key=lambda cell: cell["row"]):
        group = list(cells)
        for first, cell in zip((True, *([False] * len(group))), group, strict=False):
            spans = [_text(part, scope="rowgroup", rows=len(group)) for part in row] if first else []
            lines.append((spans + _numbers(cell, table), "grey" if cell["grey"] else ""))
    body = "".join(f'<tr class="{kind}">{"".join(cells)}</tr>' for cells, kind in lines)
    return heading + _wrapped(names, body) + _smaller_runs(table)


def claims_html(result: Result) -> str:
    """The sums that the paper's text does with its numbers, each done again."""
    lines = [
        [_text("✓ holds" if claim["holds"] else "≠ fails"), _text(claim["claim"]), _text(f"{claim['computed']:g} = {claim['source']}")]
        for claim in result["claims"]
    ]
    held = sum(claim["holds"] for claim in result["claims"])
    about = f"{held} of the {len(lines)} sums that the paper's text does with its own numbers hold. They say nothing about our model."
    return f"<p class=soft>{about}</p>" + _grid(("", "the text says", "computed again"), lines)


def conclusions_html(result: Result) -> str:
    """The six Main Conclusions: what the paper's own numbers and our runs say to each."""
    parts = []
    for conclusion in result["conclusions"]:
        lines = [[_text(told) for told in (found["says"], found["column"], found["scale"], _difference(found), found["verdict"])] for found in
                 conclusion["findings"]]  # fmt: skip
        table = _grid(("it expects that", "of", "in", "difference", "verdict"), lines)
        parts.append(f"<h3 class=chart-title>({conclusion['number']}) {html.escape(conclusion['statement'])}</h3>{table}")
    about = "Half of the 95 % interval that the test set's size leaves stands behind ±. Where only the paper has a line, we have no run."
    return f"<p class=soft>{about}</p>" + "".join(parts)


def _difference(found: Result) -> str:
    differences, margin = found["differences"], f" ± {found['margin']:.1f}" if found["margin"] is not None else ""
    if found["scale"] == "the paper":
        return f"{differences[0]:+.2f}{margin}"
    told = f"{sum(differences) / len(differences):+.1f}{margin}; {found['agreeing']} of {len(differences)} seeds"
    return f"{told}, sign test p = {found['sign_test_p']:.2g}"


def legend_html() -> str:
    rows = "".join(f"<li>{MARKS[status]} <b>{status}</b>: {meaning}</li>" for status, meaning in MEANINGS.items())
    return (
        f'<ul class="soft legend">{rows}<li>[95 % binomial interval], where the paper tells the size of the split</li>'
        "<li><i>(grey)</i>: the paper prints the row in grey, for it uses other features</li></ul>"
    )


def _numbers(cell: Result, table: Result) -> list[str]:
    ours, paper = (_value(cell[whose], cell[f"{whose}_interval"] if _has_interval(cell) else None, cell, table) for whose in ("ours", "paper"))
    difference = "" if cell["difference"] is None else f"{cell['difference']:+g}"
    seeds = str(cell["num_runs"]) if cell["num_runs"] else ""
    title = " ".join((MEANINGS[cell["status"]], *cell["files"]))
    status = f'<td title="{html.escape(title)}">{MARKS[cell["status"]]} {cell["status"]}</td>'
    paper_cell = f"<td class=number>({paper})</td>" if cell["grey"] and cell["paper"] is not None else f"<td class=number>{paper}</td>"
    return [_text(cell["column"]), paper_cell, f"<td class=number>{ours}</td>", f"<td class=number>{difference}</td>", status, _text(seeds)]


def _has_interval(cell: Result) -> bool:
    return cell["column"] not in ("R5", "R10")  # R@1 and accuracies


def _value(value: float | None, interval: tuple[float, float] | None, cell: Result, table: Result) -> str:
    if value is None:
        return "–"
    text = number(value, cell, table) + (" %" if cell["unit"] == "%" else "")
    return text + (f" <span class=soft>[{interval[0]:.1f}, {interval[1]:.1f}]</span>" if interval else "")


def _smaller_runs(table: Result) -> str:
    """Runs on other data or sizes: apart from the table, with how far they order its rows alike."""
    lines = [
        [_text(", ".join(cell["row"])), _text(cell["column"]), f"<td class=number>{_value(run['value'], run['interval'], cell, table)}</td>",
         _text(run["scale"]), _text(run["file"])]
        for cell in table["cells"] for run in cell["scaled_down"]
    ]  # fmt: skip
    if not lines:
        return ""
    trends = "".join(
        f"<li>{html.escape(t['column'])}, {html.escape(t['scale'])}: orders {t['agreeing']} of {t['pairs']} pairs of rows as the paper does "
        f"(Kendall's tau {t['kendall_tau']:+.2f}, as far from 0 by chance with p = {t['p_value']:.2g}: {t['verdict']})</li>"
        for t in table["trends"]
    )
    about = "Other data or sizes than the paper's; not to be compared with its numbers."
    heading = f"<h3 class=chart-title>Smaller runs: a trend, not a reproduction</h3><p class=soft>{about}</p>"
    return heading + _grid(("row", "number", "measured", "on", "file"), lines) + (f"<ul class=soft>{trends}</ul>" if trends else "")


def _settings(table: Result) -> str:
    lines = []
    for row, cells in groupby(table["cells"], key=lambda cell: cell["row"]):
        lines.append([*map(_text, row), *(f"<td class=number>{_value(cell['paper'], None, cell, table)}</td>" for cell in cells)])
    return _grid((*table["row_names"], *table["columns"]), lines)


def _text(text: str, *, scope: str = "", rows: int = 1) -> str:
    if scope:
        return f'<th scope="{scope}" rowspan="{rows}">{html.escape(text)}</th>'
    return f"<td>{html.escape(text)}</td>"


def _grid(names: tuple[str, ...], lines: list[list[str]]) -> str:
    return _wrapped(names, "".join(f"<tr>{''.join(cells)}</tr>" for cells in lines))


def _wrapped(names: Any, body: str) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    return f'<div class="wide" tabindex="0"><table class="paper"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
