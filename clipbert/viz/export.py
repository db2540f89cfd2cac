"""Pictures as files, rows as CSV or as a table."""

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipbert.checks import check_known
from clipbert.viz.chart import Chart, Row
from clipbert.viz.prints import print_bytes
from clipbert.viz.screen import screen_html

FORMATS = ("png", "svg", "pdf", "html", "csv")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def save(chart: Chart, path: str | Path, *, width: str = "page") -> None:
    """Write the chart as its suffix says: PNG at 300 dpi, SVG, PDF with embedded fonts, an offline HTML page, or its rows as CSV.

    Raises ValueError for another suffix.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    check_known("suffix of a picture", suffix, FORMATS)
    if suffix == "html":
        path.write_text(screen_html(chart), encoding="utf-8")
    elif suffix == "csv":
        path.write_text(to_csv(chart.rows), encoding="utf-8", newline="")
    else:
        path.write_bytes(print_bytes(chart, suffix, width=width))


def to_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV with a header; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _inert(value) for column, value in row.items()})
    return out.getvalue()


def to_table(rows: Sequence[Row], caption: str = "") -> str:
    """The rows as an HTML table, all text escaped: what a screen reader reads in place of the picture."""
    columns = list(rows[0]) if rows else []
    head = "".join(f'<th scope="col">{html.escape(column.replace("_", " "))}</th>' for column in columns)
    body = "".join("<tr>" + "".join(_cell(row[column]) for column in columns) + "</tr>\n" for row in rows)
    about = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f'<table class="clipbert-table">{about}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>'


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _cell(value: Any) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, int | float):
        return f'<td class="number">{value if isinstance(value, int) else f"{value:.4g}"}</td>'
    return f"<td>{html.escape(str(value))}</td>"
