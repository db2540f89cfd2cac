"""The paper's numbers: against its text, where that is at hand; spot cells; what its text computes from them."""

import re

import pytest
from conftest import SHARED

from clipbert.paper import PaperTable, claims, figure_points, paper_table, table_part

PARTS = [part for number in range(1, 12) for part in paper_table(number)]
FIRST_LINES = {  # how each part's first row begins in the paper's text
    "1": "224\t", "2": "-\t1\t10.2", "3": "-\t1\t12.7", "4": "Dense Uniform\t16", "5": "random\trandom", "6": "$\\times$\t$\\times$",
    "7a": "HERO [37] ASR, PT", "7b": "CE [41]\t16.1", "7c": "CE [41]\t18.2", "8a": "ST-VQA [23]\t60.8", "8b": "ST-VQA [23] (by [12])",
    "8c": "SNUVL", "9": "BUTD [1]", "10": "MSRVT\t20", "11": "TGIF-QA Action\t55",
}  # fmt: skip


@pytest.fixture(scope="module")
def text() -> str:
    found = sorted((SHARED / "seeds").glob("003_*.txt"))
    if not found:
        pytest.skip(f"needs the paper's text in {SHARED / 'seeds'}")
    return found[0].read_text(encoding="utf-8")


def rows_in_text(part: PaperTable, text: str) -> list[list[str]]:
    """The cells of the lines of one table in the text, without its markup."""
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(FIRST_LINES[part.name]))
    rows = []
    for line in lines[first:]:
        if "\t" not in line:
            return rows
        rows.append([re.sub(r"</?(b|sub)>", "", field).strip() for field in line.split("\t")])
    raise AssertionError(f"Table {part.name} has no end")


def numbers(fields: list[str]) -> list[float | None]:
    """ "16×1×8" is three numbers, a dash is none."""
    return [None if field == "-" else float(number) for field in fields for number in re.split(r"\s*(?:×|\$\\times\$)\s*", field)]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_number_stands_in_the_papers_text_and_none_is_left_over(part: PaperTable, text: str) -> None:
    in_text = [numbers(row[len(part.row_names) :]) for row in rows_in_text(part, text)]
    ours: dict[tuple[str, ...], list[float | None]] = {}
    for cell in part.cells:
        ours.setdefault(cell.row, []).append(cell.value)
    assert list(ours.values()) == in_text


@pytest.mark.parametrize("part", [part for part in PARTS if part.name[0] in "789"], ids=lambda part: part.name)
def test_every_method_has_the_name_it_has_in_the_text(part: PaperTable, text: str) -> None:
    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.lower())

    ours = list(dict.fromkeys(plain(" ".join(cell.row)) for cell in part.cells))
    assert ours == [plain(" ".join(row[: len(part.row_names)])) for row in rows_in_text(part, text)]


def test_figure_points_stand_in_the_papers_text(text: str) -> None:
    assert "maximum allowed batch size for a single NVIDIA V100 GPU is 190 when  $N_{train}=2$" in text
    assert "compared to that of 16 when  $N_{train}=16$" in text
    assert "3-second generic-domain GIF videos" in text and "180-second human activity videos" in text
    assert "21 FPS (*i.e.*, on average 310 frames" in text


def test_figures_hold_only_what_text_and_tables_tell() -> None:
    assert [(point.x, point.y) for point in figure_points(5)] == [(2, 190), (16, 16)]
    assert [point.y for point in figure_points(3)] == [3, 180, pytest.approx(310 / 21, abs=0.05)]
    assert [point.derived for point in figure_points(3)] == [False, False, True]
    tables = {
        ("T=1, R1", 1): table_part("1").cell("R1", "448"), ("T=1, Accuracy", 1): table_part("1").cell("Accuracy", "448"),
        ("T=2, R1", 1): table_part("2").cell("R1", "mean pooling", "2"), ("T=2, Accuracy", 1): table_part("2").cell("Accuracy", "mean pooling", "2"),
        ("T=1, R1", 16): table_part("3").cell("R1", "-", "1"), ("T=1, Accuracy", 16): table_part("3").cell("Accuracy", "-", "1"),
    }  # fmt: skip
    assert {(point.series, point.x): point.y for point in figure_points(4)} == {key: cell.value for key, cell in tables.items()}


@pytest.mark.parametrize(
    ("name", "column", "row", "value"),
    [
        ("1", "MdR", ("768",), 16.0),
        ("2", "R5", ("Conv(2+1)D", "16"), 27.3),
        ("3", "Accuracy", ("Mean Pooling", "16"), 35.33),
        ("4", "R10", ("Sparse Random", "4"), 55.3),
        ("5", "MdR", ("random", "BERT-base"), 505.0),
        ("6", "R1", ("no", "yes"), 9.0),
        ("7a", "MdR", ("HERO [37] PT",), None),
        ("7c", "R1", ("MMT [15] PT",), 28.7),
        ("8a", "FrameQA", ("ClipBERT 1×1",), 60.3),
        ("8c", "Accuracy", ("ClipBERT 8×2",), 88.2),
        ("9", "test-std", ("ClipBERT 1×1", "G"), 69.43),
        ("10", "gradient accumulation", ("DiDeMo",), 4),
        ("11", "GPUs", ("MSRVTT-QA",), 4),
    ],
)
def test_cells_are_found_by_column_and_row(name: str, column: str, row: tuple[str, ...], value: float | None) -> None:
    assert table_part(name).cell(column, *row).value == value


def test_ablations_are_on_local_validation_sets_and_comparisons_on_test_sets() -> None:
    splits = {part.name: {cell.split for cell in part.cells} for part in PARTS}
    assert all(splits[name] == {"local val", "val"} for name in "123456")
    assert splits["7a"] == {"1K test"} and splits["7c"] == {"val1"} and splits["8b"] == {"test"} and splits["9"] == {"test-dev", "test-std"}


def test_rows_with_other_features_are_grey() -> None:
    grey = {(part.name, cell.row[0]) for part in PARTS for cell in part.cells if cell.grey}
    assert grey == {("7a", "HERO [37] ASR, PT"), ("7b", "CE [41]"), ("7c", "CE [41]"), ("7c", "MMT [15]"), ("7c", "MMT [15] PT")}


def test_the_same_experiment_has_the_same_numbers_in_every_table_that_shows_it() -> None:
    def line(name: str, *row: str) -> list[float | None]:
        return [cell.value for cell in table_part(name).cells if cell.row == row]

    one_frame = [line("1", "448"), line("2", "-", "1"), line("5", "image-text pre-training", "image-text pre-training"), line("6", "yes", "yes")]
    assert all(values == one_frame[0] for values in one_frame)
    assert line("3", "-", "1") == line("4", "Sparse Random", "1") and line("3", "LogSumExp", "2") == line("4", "Sparse Random", "2")


def test_all_16_sums_of_the_text_hold() -> None:
    found = claims()
    assert len(found) == 16 and all(claim.holds for claim in found)


def test_what_the_paper_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="Tables 1 to 11, got 12"):
        paper_table(12)
    with pytest.raises(ValueError, match="no Table '7'; it has 1, 2"):
        table_part("7")
    with pytest.raises(ValueError, match="no cell R2 of 448; its columns: R1"):
        table_part("1").cell("R2", "448")
    with pytest.raises(ValueError, match="Figures 3, 4 and 5, got 2"):
        figure_points(2)
