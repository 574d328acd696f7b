"""The first look: what it prints, that it can fail, and that it keeps to its folder."""

import hashlib
import os
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from accounting import demo
from accounting.demo import Compared, Comparison, Figures, Untold, compared, run, untold, verdict
from accounting.differences import Difference
from accounting.errors import ConfigurationError
from accounting.places import sqlite_url
from accounting.simulated.ledger import LedgerLine, Tokens
from accounting.sources import Completeness
from accounting.spend import Report, SpendLine
from accounting.store.tables import calls, rates
from accounting.usage import Quantities
from accounting.verify import Verification
from tests.books import Books

LINE = LedgerLine(
    number=1,
    endpoint="chat/completions",
    key=hashlib.sha256(b"sk-a").hexdigest(),
    model="z-ai/glm-5",
    stream=False,
    status=200,
    outcome="finished",
    charged=Tokens(15, 0, 0, 210, 210),
    told=Tokens(15, 0, 0, 210, 210),
)
BOOKED = SpendLine(
    group="z-ai/glm-5",
    id="z-ai/glm-5",
    calls=1,
    quantities=Quantities(15, 0, 0, 210, 210, requests=1),
    spent={"CNY": Decimal("0.007515")},
)


def report(*lines: SpendLine) -> Report:
    return Report("model", lines, SpendLine(group="total", id=""), Completeness(until=None))


def test_ledger_and_books_agree_where_every_figure_is_the_same() -> None:
    (line,) = compared(report(BOOKED), [LINE], lambda line: line.model)

    assert line.agrees
    assert line.ledger.spent == (("CNY", Decimal("0.007515")),)


@pytest.mark.parametrize(
    "changed",
    [
        replace(BOOKED, spent={"CNY": Decimal("0.007515000000000000000000000001")}),
        replace(BOOKED, spent={"USD": Decimal("0.007515")}),
        replace(BOOKED, quantities=Quantities(15, 0, 0, 211, 210, requests=1)),
        replace(BOOKED, quantities=Quantities(15, 0, 0, 210, 210, cache_write_1h=1, requests=1)),
        replace(BOOKED, quantities=Quantities(15, 0, 0, 210, 210, requests=2)),
        replace(BOOKED, calls=2),
        replace(BOOKED, failed=1),
        replace(BOOKED, id="z-ai/glm-6", group="z-ai/glm-6"),
    ],
)
def test_one_figure_that_is_off_is_a_disagreement(changed: SpendLine) -> None:
    assert not all(line.agrees for line in compared(report(changed), [LINE], lambda line: line.model))


def test_what_the_provider_could_not_tell_is_not_expected_in_the_books() -> None:
    cut = replace(LINE, number=2, outcome="interrupted", told=None)
    (line,) = compared(report(replace(BOOKED, calls=2, interrupted=1)), [LINE, cut], lambda line: line.model)

    assert line.agrees


def test_what_was_charged_and_never_told_is_counted_with_its_money() -> None:
    cut = replace(LINE, told=None)
    partial = replace(LINE, told=Tokens(15, 0, 0, 1, 0))
    refused = replace(LINE, told=None, charged=Tokens())

    assert untold([LINE, refused]) == Untold()
    assert untold([LINE, cut, partial]) == Untold(1, 1, (("CNY", Decimal("0.007515") + Decimal("0.007315")),))


def test_a_disagreement_is_told_by_name_with_both_figures() -> None:
    line = Compared("model", "z-ai/glm-5", Figures(calls=1), Figures(calls=2))
    broken = Difference("calls", "1", "model", "a", "b")
    told = verdict(Comparison((line,), Verification(2, 2, (broken,)), Untold()))

    assert told[0].startswith("model z-ai/glm-5: the ledger says Figures(calls=1")
    assert told[1:] == [str(broken), "Ledger and books do NOT agree: 2 calls."]


def test_a_first_look_ends_with_books_that_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_STORE_URL", "sqlite:////nowhere/at/all.sqlite3")
    before = dict(os.environ)
    page = StringIO()

    comparison = run(tmp_path / "first look", Console(file=page, width=60), calls=300)
    printed = page.getvalue()

    assert comparison.agrees, verdict(comparison)
    assert comparison.verification.calls == comparison.verification.rolled == 300
    assert {line.by for line in comparison.lines} == {"key", "model"}
    assert prices(tmp_path / "first look", "sim/messages") == {Decimal("0.003"), Decimal("0.006")}, "short and long"
    assert comparison.untold.calls > 0
    assert f"{comparison.untold.calls} without usage" in printed
    assert f"store: sqlite:///{tmp_path}/first look/books.sqlite3" in printed.splitlines()
    assert "Ledger and books agree to the last digit: 300 calls, by key and by model." in printed
    assert "accounting.meter(OpenAI()" in printed
    assert dict(os.environ) == before


def prices(folder: Path, model: str) -> set[Decimal]:
    """Of input, that calls of the model were charged."""
    with closing(Books(sqlite_url(folder / demo.BOOKS))) as books:
        used = {row["rate_id"] for row in books.rows(calls) if row["model"] == model}
        return {row["input_per_1k"] for row in books.rows(rates) if row["id"] in used}


def test_books_of_an_earlier_look_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / demo.BOOKS).write_bytes(b"earlier")

    with pytest.raises(ConfigurationError, match="has books already"):
        run(tmp_path, Console(file=StringIO()), calls=1)
    assert (tmp_path / demo.BOOKS).read_bytes() == b"earlier"


def test_the_environment_comes_back_even_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_ZONE", "Asia/Shanghai")

    def fail() -> None:
        with demo.own_books(tmp_path, "sqlite:////tmp/x"):
            assert "ACCOUNTING_ZONE" not in os.environ
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert os.environ["ACCOUNTING_ZONE"] == "Asia/Shanghai"
