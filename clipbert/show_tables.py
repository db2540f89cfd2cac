"""The paper's tables and claims beside ours as text, for `clipbert tables`."""

from typing import Any

MARKS = {"reproduced": "✓", "deviates": "≠", "scaled-down": "~", "not run": "·", "cited": "", "setting": ""}


def tables(result: dict[str, Any]) -> None:
    """Each table with its marks; smaller runs of ours below it, never in its columns."""
    for table in result["tables"]:
        page = f", p. {table['page']}" if table["page"] else ""
        print(f"Table {table['table']}: {table['title']} (section {table['section']}{page})")
        if table["note"]:
            print(f"  note: {table['note']}")
        _grid(table)
        for found in (cell for cell in table["cells"] if cell["ours"] is not None):
            print(f"  ours: {', '.join(found['row'])}, {found['column']}: {found['ours']:g} ({found['difference']:+g}; {found['num_runs']} runs)")
        for scale in dict.fromkeys(run["scale"] for run in table["smaller"]):
            _smaller_runs(table, scale)
        print()
    print("  · not run by us   ✓ reproduced within 1 point or rank   ≠ deviates   ~ only scaled-down runs")
    print("  [95 % binomial interval]   (grey in the paper)")


def _smaller_runs(table: dict[str, Any], scale: str) -> None:
    runs = [run for run in table["smaller"] if run["scale"] == scale]
    print(f"\n  smaller runs, not to be compared with the paper's numbers: {scale}")
    width = max(len(", ".join(run["row"])) for run in runs)
    for run in runs:
        interval = f" [{run['interval'][0]:.1f}, {run['interval'][1]:.1f}]" if run["interval"] else ""
        print(f"    {', '.join(run['row']):<{width}}  {run['column']} {run['mean']:.1f}{interval}, {len(run['values'])} seeds")
    for trend in (trend for trend in table["trends"] if trend["scale"] == scale):
        told = f"{trend['column']} orders {trend['agreeing']} of {trend['pairs']} pairs of rows as the paper does"
        print(f"    trend: {told} (tau {trend['kendall_tau']:+.2f}; by chance {trend['p_value']:.2g}: {trend['verdict']})")


def _grid(table: dict[str, Any]) -> None:
    rows: dict[tuple[str, ...], list[str]] = {}
    for cell in table["cells"]:
        rows.setdefault(tuple(cell["row"]), []).append(_cell(cell, table))
    name = ", ".join(table["row_names"])
    width = max(len(name), *(len(", ".join(row)) for row in rows))
    widths = [max(len(column), *(len(cells[i]) for cells in rows.values())) for i, column in enumerate(table["columns"])]
    print(f"  {name:<{width}}  " + "  ".join(f"{column:<{w}}" for column, w in zip(table["columns"], widths, strict=True)))
    for row, cells in rows.items():
        print((f"  {', '.join(row):<{width}}  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(cells, widths, strict=True))).rstrip())


def _cell(cell: dict[str, Any], table: dict[str, Any]) -> str:
    """The paper's number as printed, its interval where it is a first rank or an accuracy, and the status of ours."""
    if cell["paper"] is None:
        return "-"
    text = number(cell["paper"], cell, table)
    if cell["paper_interval"] and cell["column"] in ("R1", "Accuracy"):
        low, high = cell["paper_interval"]
        text += f" [{low:.1f}, {high:.1f}]"
    return f"({text})" if cell["grey"] else f"{text} {MARKS[cell['status']]}".strip()


def number(value: float, cell: dict[str, Any], table: dict[str, Any]) -> str:
    """With as many decimals as the paper prints in the cell's column."""
    if cell["unit"] not in ("%", "rank"):
        return f"{value:g}"
    of_column = [f"{other['paper']:g}" for other in table["cells"] if other["column"] == cell["column"] and other["paper"] is not None]
    return f"{value:.{max(1, *(len(text.partition('.')[2]) for text in of_column))}f}"


def overview(result: dict[str, Any]) -> None:
    counts: dict[str, dict[str, int]] = {}
    for table in result["tables"]:
        for cell in table["cells"]:
            counts.setdefault(table["table"], {}).setdefault(cell["status"], 0)
            counts[table["table"]][cell["status"]] += 1
    for table in result["tables"]:
        told = ", ".join(f"{count} {status}" for status, count in counts[table["table"]].items())
        print(f"Table {table['table']:<3} {table['title']:<84} {told}")
    held = sum(claim["holds"] for claim in result["claims"])
    print(f"\n{held} of the {len(result['claims'])} sums that the paper's text does with its numbers hold:")
    for claim in result["claims"]:
        print(f"  {'holds' if claim['holds'] else 'FAILS'}  {claim['claim']}: {claim['computed']:g} = {claim['source']}")
    print("\nThe six Main Conclusions (section 4.3); ± is the 95 % margin of the test set's size, where it is told:")
    for conclusion in result["conclusions"]:
        _conclusion(conclusion)
    if result["figure_4"]:
        print("\nFigure 4 by runs of ours, seed by seed (section 4.2):")
    curves = dict.fromkeys((found["series"], found["scale"]) for found in result["figure_4"])
    for series, scale in curves:
        print(f"  {series} ({scale})")
        for found in (found for found in result["figure_4"] if (found["series"], found["scale"]) == (series, scale)):
            differences = ", ".join(f"{difference:+.1f}" for difference in found["differences"])
            print(f"    {found['says']}, {found['column']}: {differences}; {found['agreeing']} of {len(found['differences'])} for it, ", end="")
            print(f"sign test p = {found['p_value']:.2g}: {found['verdict']}")


def _conclusion(conclusion: dict[str, Any]) -> None:
    print(f"  ({conclusion['number']}) {conclusion['statement']}")
    for found in conclusion["findings"]:
        differences, who = found["differences"], found["scale"]
        margin = f" ± {found['margin']:.1f}" if found["margin"] is not None else ""
        if who == "the paper":
            ours = "" if _measured_too(found, conclusion["findings"]) else "; ours: not run"
            print(f"      {found['says']}, {found['column']}: the paper {differences[0]:+.2f}{margin}, {found['verdict']}{ours}")
        else:
            told = f"{sum(differences) / len(differences):+.1f}{margin}; {found['agreeing']} of {len(differences)} seeds"
            print(f"        {found['verdict']}, {who}, {found['column']}: {told}, sign test p = {found['sign_test_p']:.2g}")


def _measured_too(paper: dict[str, Any], findings: list[dict[str, Any]]) -> bool:
    return any((found["says"], found["column"]) == (paper["says"], paper["column"]) and found is not paper for found in findings)
