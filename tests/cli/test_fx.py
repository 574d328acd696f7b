"""`accounting fx`, and reports in one currency."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from accounting.store import writing
from accounting.store.tables import calls
from accounting.usage import Usage, UsageSource
from tests.books import Books, at, made, used
from tests.cli.conftest import Run

MORNING = at("2026-03-23 10:58:12")
CARD = """
provider = "acme"
currency = "USD"
source = "list"
[[rate]]
model = "m"
valid_from = 2026-01-01
input = 0.001
output = 0.002
"""
HEAD = "date,base,quote,rate,source\n"
MARCH = "2026-03-30,USD,CNY,7.1032,PBC\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rates.csv"


def load(run: Run, file: Path, lines: str, *options: str) -> str:
    file.write_text(HEAD + lines, "utf-8")
    ran = run("fx", "load", file, *options)
    assert ran.code == 0, ran.err
    return ran.out


def spent_in_two(books: Books) -> None:
    """0.018 CNY of checkout, 0.0014 USD of search."""
    books.load(CARD)
    books.deliver(made(MORNING, 1), made(MORNING, 2, provider="acme", request_model="m", project="search"))


def as_json(run: Run, *options: str) -> dict[str, Any]:
    ran = run("report", "--month", "2026-03", "--json", *options)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_rates_are_loaded_once_and_a_dry_run_loads_none(run: Run, books: Books, file: Path) -> None:
    assert load(run, file, MARCH, "--dry-run") == "rates.csv: 1 rate would be added, 0 already there.\n"
    assert "No exchange rates yet" in run("fx", "list").out
    assert load(run, file, MARCH) == "rates.csv: 1 rate added, 0 already there.\n"
    assert load(run, file, MARCH) == "rates.csv: 0 rates added, 1 already there.\n"


def test_programs_are_told_what_was_loaded_of_each_file(run: Run, books: Books, file: Path) -> None:
    other = file.with_name("ecb.csv")
    other.write_text("Date,USD,HRK\n2026-03-30,1.1541,7.5\n", "utf-8")
    file.write_text(HEAD + MARCH, "utf-8")
    ran = run("fx", "load", file, other, "--dry-run", "--json")
    assert json.loads(ran.out) == {
        "dry_run": True,
        "files": [
            {"file": str(file), "added": 1, "unchanged": 0, "left_out": []},
            {"file": str(other), "added": 1, "unchanged": 0, "left_out": ["HRK"]},
        ],
    }
    assert json.loads(run("fx", "list", "--json").out) == {"pairs": []}


def test_columns_of_currencies_that_are_no_more_are_left_out_and_named(run: Run, books: Books, file: Path) -> None:
    file.write_text("Date,USD,HRK,CNY,\n2026-03-30,1.1541,N/A,8.2011,\n", "utf-8-sig")
    assert run("fx", "load", file).out == (
        "rates.csv: 2 rates added, 0 already there. Left out, as no currency today: HRK.\n"
    )


def test_a_wrong_file_is_answered_with_what_was_expected(run: Run, books: Books, file: Path) -> None:
    for text, said in {
        HEAD + "2026-03-30,USD,RMB,7.1,x\n": "Did you mean CNY?",
        HEAD + "2999-03-30,USD,CNY,7.1,x\n": "a day to come",
        HEAD + MARCH + "2026-03-30,USD,CNY,7.2,x\n": "Two rates of one day",
        "fx": "no column",
    }.items():
        file.write_text(text, "utf-8")
        ran = run("fx", "load", file)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
    file.write_bytes(b"\xff\xfe")
    assert "no UTF-8" in run("fx", "load", file).err
    assert "Can't read" in run("fx", "load", file.with_name("none.csv")).err


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_files_that_contradict_each_other_are_all_refused(
    run: Run, books: Books, file: Path, options: tuple[str, ...]
) -> None:
    file.write_text(HEAD + MARCH, "utf-8")
    other = file.with_name("other.csv")
    other.write_text(HEAD + "2026-03-30,USD,CNY,7.2,treasury\n", "utf-8")
    ran = run("fx", "load", file, other, *options)
    assert (ran.code, ran.out) == (2, "")
    assert "Two rates of one day" in ran.err
    assert "No exchange rates yet" in run("fx", "list").out


def test_pairs_are_listed_with_their_latest_rate(run: Run, books: Books, file: Path) -> None:
    load(run, file, MARCH + "2026-03-31,USD,CNY,7.2,PBC\n")
    assert run("fx", "list").lines[1].split() == ["USD/CNY", "7.2", "2026-03-31", "2", "2026-03-30", "PBC", "2"]
    assert json.loads(run("fx", "list", "--json").out) == {
        "pairs": [
            {"id": 2, "base": "USD", "quote": "CNY", "day": "2026-03-31", "rate": "7.2", "source": "PBC", "rates": 2,
             "since": "2026-03-30"}
        ]
    }  # fmt: skip


def test_the_rate_of_a_day_is_shown_with_what_it_is_made_of(run: Run, books: Books, file: Path) -> None:
    load(run, file, "2026-03-30,CNY,USD,0.14,PBC\n")
    ran = run("fx", "show", "USD/CNY", "--at", "2026-04-02")
    assert ran.lines[0] == (
        "1 USD = 7.14285714286 CNY from 1 CNY = 0.14 USD of 2026-03-30 (3 days before 2026-04-02), source: PBC."
    )
    assert ran.lines[3].split()[:4] == ["1", "CNY/USD", "2026-03-30", "0.14"]
    found = json.loads(run("fx", "show", "USD/CNY", "--at", "2026-04-02", "-j").out)
    assert (found["conversion"]["rate"], found["conversion"]["day"]) == ("7.14285714286", "2026-03-30")
    assert found["conversion"]["age_days"] == 3
    assert found["conversion"]["derived"] == [
        {"base": "CNY", "quote": "USD", "rate": "0.14", "day": "2026-03-30", "source": "PBC"}
    ]
    assert len(found["entries"]) == 1


def test_a_day_before_any_rate_is_told_so(run: Run, books: Books, file: Path) -> None:
    load(run, file, MARCH)
    ran = run("fx", "show", "USD/CNY", "--at", "2026-03-29")
    assert ran.lines == [
        "There is no exchange rate USD/CNY of 2026-03-29 or before, nor the opposite one, nor two by way of a third "
        "currency. Load one: accounting fx load FILE"
    ]
    found = json.loads(run("fx", "show", "USD/CNY", "--at", "2026-03-29", "-j").out)
    assert found == {"conversion": None, "entries": []}


@pytest.mark.parametrize(("pair", "said"), [
    ("USDCNY", "expected two currencies like USD/CNY"), ("USD/USD", "one currency"), ("USD/RMB", "Did you mean CNY"),
])  # fmt: skip
def test_what_is_no_pair_is_refused(run: Run, books: Books, pair: str, said: str) -> None:
    ran = run("fx", "show", pair)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_wrong_rate_is_withdrawn_with_a_reason_and_stays(run: Run, books: Books, file: Path) -> None:
    load(run, file, "2026-03-30,USD,CNY,71,PBC\n")
    assert run("fx", "withdraw", "1", "--why", " ").code == 2
    assert run("fx", "withdraw", "1", "--why", "typed wrong").out.startswith("Withdrew 1 USD = 71 CNY of 2026-03-30")
    load(run, file, MARCH)
    ran = run("fx", "show", "USD/CNY", "--at", "2026-03-30")
    assert ran.lines[0] == "1 USD = 7.1032 CNY, of 2026-03-30, source: PBC."
    assert "typed wrong" in ran.lines[-1]
    assert run("fx", "withdraw", "1", "--why", "again").code == 2


def test_without_a_currency_nothing_is_converted(run: Run, books: Books, file: Path) -> None:
    spent_in_two(books)
    load(run, file, MARCH)
    assert "converted" not in run("report", "--month", "2026-03", "--json").out
    assert "7.1032" not in run("report", "--month", "2026-03").out


def test_a_report_in_one_currency_shows_both_and_the_rate_with_its_day(run: Run, books: Books, file: Path) -> None:
    spent_in_two(books)
    load(run, file, MARCH)
    lines = run("report", "--month", "2026-03", "--currency", "CNY").lines
    assert lines[2].split()[-3:] == ["cost_CNY", "cost_USD", "in_CNY"]
    assert lines[3].split()[-3:] == ["0.018", "-", "0.01800000"]
    assert lines[4].split()[-3:] == ["-", "0.0014", "0.00994448"]
    assert lines[5].split()[-3:] == ["0.018", "0.0014", "0.02794448"]
    start = lines.index("In CNY: 0.02794448, by the latest exchange rates until 2026-03-31:")
    assert lines[start + 1] == "1 USD = 7.1032 CNY, of 2026-03-30 (1 day before 2026-03-31), source: PBC."


def test_lines_are_in_order_of_what_they_come_to_in_the_one_currency(run: Run, books: Books, file: Path) -> None:
    spent_in_two(books)
    load(run, file, "2026-03-30,USD,CNY,100,x\n")
    assert [line["project"] for line in as_json(run, "--currency", "CNY")["project"]] == ["search", "checkout"]
    assert [line["project"] for line in as_json(run)["project"]] == ["checkout", "search"]


def test_json_has_the_converted_amounts_and_the_rates(run: Run, books: Books, file: Path) -> None:
    spent_in_two(books)
    load(run, file, "2026-03-30,EUR,CNY,8.2011,ECB\n2026-03-30,EUR,USD,1.1541,ECB\n")
    found = as_json(run, "--currency", "CNY")
    assert found["project"][0]["converted"] == {"currency": "CNY", "amount": "0.018", "not_converted": {}}
    assert found["totals"]["spent"] == {"CNY": "0.018", "USD": "0.0014"}
    assert found["totals"]["converted"] == {
        "currency": "CNY",
        "amount": "0.027948479334542",
        "not_converted": {},
    }
    assert (found["fx"]["currency"], found["fx"]["day"], found["fx"]["without_rate"]) == ("CNY", "2026-03-31", [])
    [rate] = found["fx"]["rates"]
    assert rate["age_days"] == 1
    assert (rate["base"], rate["quote"], rate["rate"], rate["day"]) == ("USD", "CNY", "7.10605666753", "2026-03-30")
    assert [(one["base"], one["quote"]) for one in rate["derived"]] == [("EUR", "USD"), ("EUR", "CNY")]


def test_csv_has_the_converted_amounts_and_the_rates_in_every_row(run: Run, books: Books, file: Path) -> None:
    spent_in_two(books)
    load(run, file, MARCH)
    ran = run("report", "--month", "2026-03", "--currency", "CNY", "--csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [(row["converted_CNY"], row["fx_USD_CNY"], row["fx_USD_CNY_day"]) for row in rows] == [
        ("0.018", "7.1032", "2026-03-30"),
        ("0.00994448", "7.1032", "2026-03-30"),
    ]
    assert {(row["fx_day"], row["fx_USD_CNY_source"]) for row in rows} == {("2026-03-31", "PBC")}
    assert "1 USD = 7.1032 CNY, of 2026-03-30 (1 day before 2026-03-31), source: PBC." in ran.err


def test_estimates_are_converted_beside_and_never_added(run: Run, books: Books, file: Path) -> None:
    cut = Usage(input_tokens=1000, source=UsageSource.PARTIAL)
    books.load(CARD)
    books.deliver(made(MORNING, provider="acme", request_model="m", usage=cut))
    with writing(books.engine) as conn:
        conn.execute(calls.update().values(estimated_input_tokens=0, estimated_output_tokens=100))
    load(run, file, MARCH)
    totals = as_json(run, "--currency", "CNY")["totals"]
    assert totals["converted"]["amount"] == "0.0071032"
    assert totals["estimated"]["converted"] == {
        "currency": "CNY",
        "amount": "0.00142064",
        "not_converted": {},
    }
    assert "In CNY: 0.0071032, and ≈ 0.00142064 estimated beside" in (
        run("report", "--month", "2026-03", "--currency", "CNY").out
    )


def test_what_has_no_rate_stays_as_it_is_and_is_named_beside(run: Run, books: Books, file: Path) -> None:
    spent_in_two(books)
    load(run, file, "2026-04-01,USD,CNY,7,x\n")
    ran = run("report", "--month", "2026-03", "--currency", "CNY")
    assert ran.lines[2].split()[-3:] == ["cost_CNY", "cost_USD", "in_CNY_without_USD"]
    assert ran.lines[4].split()[-3:] == ["-", "0.0014", "-"]
    assert ran.lines[5].split()[-3:] == ["0.018", "0.0014", "0.018"]
    start = ran.lines.index("In CNY: 0.018.")
    assert ran.lines[start + 1].startswith("Not in it: 0.0014 USD. There is no exchange rate USD/CNY of 2026-03-31")
    assert "accounting fx load FILE" in ran.lines[start + 1]


def test_programs_are_told_what_has_no_rate(run: Run, books: Books, file: Path) -> None:
    spent_in_two(books)
    load(run, file, "2026-03-01,EUR,CNY,8,x\n")
    found = as_json(run, "--currency", "EUR")
    assert [(one["base"], one["age_days"]) for one in found["fx"]["rates"]] == [("CNY", 30)]
    assert found["fx"]["without_rate"] == ["USD"]
    assert found["totals"]["converted"] == {
        "currency": "EUR",
        "amount": "0.00225",
        "not_converted": {"USD": "0.0014"},
    }
    ran = run("report", "--month", "2026-03", "--currency", "EUR", "--csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [(row["converted_EUR"], row["not_converted_USD"]) for row in rows] == [("0.00225", ""), ("", "0.0014")]
    assert "Not in it: 0.0014 USD." in ran.err


def test_where_nothing_can_be_converted_no_sum_is_made(run: Run, books: Books) -> None:
    spent_in_two(books)
    lines = run("report", "--month", "2026-03", "--currency", "EUR").lines
    assert "In EUR: nothing." in lines
    assert any(
        line.startswith("Not in it: 0.018 CNY, 0.0014 USD. There is no exchange rate CNY/EUR or") for line in lines
    )


def test_the_rate_of_another_day_can_be_named(run: Run, books: Books, file: Path) -> None:
    spent_in_two(books)
    load(run, file, "2026-01-01,USD,CNY,7,x\n" + MARCH)
    assert as_json(run, "--currency", "CNY", "--fx-date", "2026-01-05")["fx"]["rates"][0]["rate"] == "7"
    assert as_json(run, "--currency", "CNY", "--fx-date", "20260330")["fx"]["rates"][0]["rate"] == "7.1032"


def test_a_span_that_is_not_over_has_the_rate_of_today(
    run: Run, books: Books, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounting.cli.report.now", lambda: at("2026-03-25 12:00"))
    spent_in_two(books)
    load(run, file, "2026-03-25,USD,CNY,7,x\n2026-03-26,USD,CNY,8,x\n")
    assert as_json(run, "--currency", "CNY")["fx"]["rates"][0]["day"] == "2026-03-25"
    ran = run("report", "--since", "2026-03-01", "--currency", "CNY")
    assert "by the latest exchange rates until 2026-03-25" in ran.out
    ahead = run("report", "--currency", "CNY", "--fx-date", "2026-03-26")
    assert (ahead.code, ahead.out) == (2, "")
    assert "is to come; expected a day until 2026-03-25" in ahead.err


def test_what_was_all_spent_in_the_one_currency_needs_no_rate(run: Run, books: Books) -> None:
    books.load(CARD)
    failed = made(MORNING, 2, provider="acme", request_model="m", usage=used(0, 0))
    books.deliver(made(MORNING, 1), failed)
    ran = run("report", "--month", "2026-03", "--currency", "CNY")
    assert "In CNY: 0.018; nothing was spent in another currency." in ran.lines
    assert ran.lines[2].split()[-1] == "cost_USD"
    assert as_json(run, "--currency", "CNY")["fx"]["rates"] == []


def test_what_has_no_price_is_not_nothing_in_the_one_currency(run: Run, books: Books) -> None:
    books.deliver(made(MORNING, request_model="glm-9"))
    assert "In CNY: nothing priced; nothing was spent" in run("report", "--month", "2026-03", "--currency", "CNY").out
    assert as_json(run, "--currency", "CNY")["totals"]["converted"] == {
        "currency": "CNY",
        "amount": None,
        "not_converted": {},
    }


def test_wrong_options_are_answered_with_what_was_expected(run: Run, books: Books) -> None:
    for options, said in {
        ("--currency", "RMB"): "Did you mean CNY?",
        ("--currency", "dollars"): "expected a code of ISO 4217",
        ("--fx-date", "2026-03-30"): "--currency CODE",
        ("--currency", "CNY", "--fx-date", "yesterday"): "expected YYYY-MM-DD",
    }.items():
        ran = run("report", *options)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err


def test_a_terminal_shows_the_rates_below_the_table(
    run: Run, books: Books, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    spent_in_two(books)
    load(run, file, MARCH)
    text = run("report", "--month", "2026-03", "--currency", "CNY").out
    assert "1 USD = 7.1032 CNY, of 2026-03-30 (1 day before 2026-03-31), source: PBC." in text
    assert "0.02794448" in text
