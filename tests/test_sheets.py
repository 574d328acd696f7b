import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from accounting.sheets import (
    Cell,
    Column,
    Running,
    Sheet,
    amount,
    csv_line,
    instant,
    json_line,
    json_text,
    printable,
    say,
    show,
)

COLUMNS = (
    Column("project", figure=False),
    Column("calls"),
    Column("failed", spare=1),
    Column("cache read", spare=2),
    Column("cost CNY"),
)


def sheet(*rows: tuple[Cell, ...], total: tuple[Cell, ...] | None = None) -> Sheet:
    return Sheet(COLUMNS, rows, total)


TWO = sheet(
    ("checkout", 1204, 3, 40_000, Decimal("12.007515")),
    ("搜索", 12, 0, 0, Decimal("1.5")),
    total=("total", 1216, 3, 40_000, Decimal("13.507515")),
)


def shown(some: Sheet, width: int | None = None) -> list[str]:
    """The lines printed on a terminal of the width, or into a pipe."""
    file = io.StringIO()
    terminal = {"force_terminal": True, "color_system": None, "width": width} if width else {"width": 20}
    show(Console(file=file, **terminal), some)
    return file.getvalue().splitlines()


def test_a_pipe_gets_aligned_text_of_full_width_without_separators() -> None:
    assert shown(TWO) == [
        "project   calls  failed  cache_read   cost_CNY",
        "checkout   1204       3       40000  12.007515",
        "搜索         12       0           0   1.500000",
        "total      1216       3       40000  13.507515",
    ]


def test_a_terminal_gets_separators_and_figures_end_level() -> None:
    lines = shown(TWO, width=80)
    rows = [line.rstrip() for line in lines if line.startswith(("checkout", "搜索", "total"))]
    assert rows[0].split() == ["checkout", "1,204", "3", "40,000", "12.007515"]
    assert len({cell_len(row) for row in rows}) == 1


def test_a_narrow_terminal_loses_the_sparest_columns_first_and_names_them() -> None:
    lines = shown(TWO, width=36)
    assert "40,000" not in "\n".join(lines)
    assert lines[-2:] == ["Too narrow for cache read: widen the", "terminal, or use --json."]


def test_a_column_without_a_figure_leaves_before_one_that_holds_something_and_unnamed() -> None:
    some = sheet(("checkout", 1, 0, 40_000, Decimal(1)))
    lines = shown(some, width=34)
    assert "40,000" in "\n".join(lines)
    assert "failed" not in "\n".join(lines)


def test_a_long_name_is_folded_before_a_column_leaves() -> None:
    lines = shown(sheet(("x" * 60, 1, 2, 3, Decimal(1))), width=60)
    assert "".join(lines).count("x") == 60
    assert "cache" in "".join(lines)


@pytest.mark.parametrize("width", range(20, 100, 7))
def test_no_figure_that_is_shown_is_cut_at_any_width(width: int) -> None:
    text = "\n".join(shown(TWO, width))
    assert "1,204" in text
    assert "13.507515" in text
    assert all(cell_len(line) <= width for line in text.splitlines())


def test_where_not_even_the_least_fits_each_row_becomes_a_block() -> None:
    assert shown(sheet(("checkout", 1204, 3, 40_000, Decimal("0.5"))), width=20) == [
        "checkout",
        "  calls        1,204",
        "  failed           3",
        "  cache read  40,000",
        "  cost CNY       0.5",
    ]


def test_what_is_unknown_is_a_dash_and_not_0() -> None:
    assert shown(sheet(("a", 0, None, 0, None)))[1].split() == ["a", "0", "-", "0", "-"]


def test_a_name_can_neither_steer_the_terminal_nor_be_taken_for_markup() -> None:
    for width in (None, 80):
        text = "\n".join(shown(sheet(("\x1b[2J[red]x:smile:\u202e", 1, 1, 1, Decimal(1))), width))
        assert r"\x1b[2J[red]x:smile:\u202e" in text


def test_lines_in_a_pipe_are_not_wrapped() -> None:
    file = io.StringIO()
    say(Console(file=file, width=20), "w " * 40 + "[b]end")
    assert file.getvalue() == "w " * 40 + "[b]end\n"


@pytest.mark.parametrize("command", ["accounting keys move", "export A=", "    accounting deliver --meant-for"])
def test_a_command_to_copy_is_in_one_piece_on_any_terminal_and_prose_is_wrapped(command: str) -> None:
    file = io.StringIO()
    say(
        Console(file=file, width=20, force_terminal=True), f"{command} {'w ' * 40}end", "This is prose that is wrapped."
    )
    assert [line.rstrip() for line in file.getvalue().splitlines()] == [
        f"{command} {'w ' * 40}end",
        "This is prose that",
        "is wrapped.",
    ]


def test_a_heading_that_people_named_is_not_made_another_name_in_a_pipe() -> None:
    columns = (Column("tag:fea ture", figure=False, named_by_others=True), Column("input tokens"))
    assert shown(Sheet(columns, (("rerank", 1),)))[0] == "tag:fea ture  input_tokens"
    assert Running(columns).lines([("rerank", 1)])[0] == "tag:fea ture  input_tokens"


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        ("0.007515", 0, "0.007515"),
        ("1234567.5", 2, "1,234,567.50"),
        ("12", 0, "12"),
        ("-0.5", 0, "-0.5"),
        ("123456789012345678901234567890.000000000001", 0, "123,456,789,012,345,678,901,234,567,890.000000000001"),
        ("1E+3", 0, "1,000"),
    ],
)
def test_an_amount_is_spelt_in_full(value: str, decimals: int, text: str) -> None:
    assert amount(Decimal(value), decimals) == text


def test_json_spells_amounts_times_and_ids_as_text() -> None:
    id_ = UUID(int=7)
    value = {"a": Decimal("0.10"), "t": datetime(2026, 11, 23, tzinfo=UTC), "d": date(2026, 11, 23), "i": id_}
    assert json.loads(json_text(value)) == {"a": "0.1", "t": "2026-11-23T00:00:00Z", "d": "2026-11-23", "i": str(id_)}


def test_json_refuses_what_it_has_no_form_for() -> None:
    with pytest.raises(TypeError, match="set has no JSON form"):
        json_text({1})


def test_an_instant_names_its_zone() -> None:
    assert instant(datetime(2026, 11, 23, 10, 58, 12, tzinfo=UTC)) == "2026-11-23 10:58:12 UTC"
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert instant(noon, ZoneInfo("Asia/Shanghai")) == "2026-11-23 20:00:00+08:00"
    assert instant(noon, ZoneInfo("Europe/London")) == "2026-11-23 12:00:00+00:00"
    assert instant(noon, ZoneInfo("UTC")) == "2026-11-23 12:00:00 UTC"
    assert instant(None) == "never"


def test_printable_text_stays_as_it_is() -> None:
    assert printable("搜索 – ñ") == "搜索 – ñ"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\0=1", "＝1", "－1"])
def test_a_text_in_csv_is_no_formula(text: str) -> None:
    assert next(csv.reader([csv_line([text, "x"])])) == [f"'{text}", "x"]


def test_a_number_in_csv_stays_one_whatever_its_sign() -> None:
    assert (
        csv_line([-1, Decimal("-0.50"), Decimal("1E+3"), 10**20, True]) == "-1,-0.5,1000,100000000000000000000,true\r\n"
    )


def test_what_is_not_known_is_an_empty_cell() -> None:
    assert csv_line([None, "", 0]) == ",,0\r\n"


@given(st.lists(st.text() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False), min_size=1))
def test_csv_reads_back_as_it_was_but_for_what_would_be_a_formula(cells: list[Cell]) -> None:
    (found,) = csv.reader(io.StringIO(csv_line(["first", *cells]), newline=""))
    for cell, text in zip(cells, found[1:], strict=True):
        if isinstance(cell, str):
            assert text.removeprefix("'") == cell.removeprefix("'")
            assert not text.startswith(tuple("=+-@\t\r\n\0"))
        else:
            assert Decimal(text) == cell


def test_a_name_in_csv_can_not_steer_a_terminal_and_reaches_a_pipe_as_it_is() -> None:
    assert csv_line(["\x1b[2J"], on_terminal=True) == "\\x1b[2J\r\n"
    assert csv_line(["\x1b[2J"]) == "\x1b[2J\r\n"


def test_rows_that_come_later_stand_under_the_first_ones() -> None:
    running = Running(COLUMNS[:3])
    assert running.lines([("checkout", 1204, None)]) == ["project   calls  failed", "checkout   1204       -"]
    assert running.lines([]) == []
    assert running.lines([("搜索", 1, 0), ("a longer name", 2, 0)]) == [
        "搜索               1       0",
        "a longer name      2       0",
    ]
    assert running.lines([("x", 3, 0)]) == ["x                  3       0"]


def test_a_json_line_is_one_line() -> None:
    assert json_line({"a": "x\ny", "b": Decimal("0.10")}) == '{"a": "x\\ny", "b": "0.1"}'
