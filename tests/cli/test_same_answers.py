"""Every command answers from PostgreSQL what it answers from SQLite, word for word."""

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from accounting import fxbook
from accounting.fx import fx_rate
from accounting.ingest import ingest
from accounting.money import Money
from accounting.places import without_secret
from accounting.ports import Batch, Entry
from accounting.usage import Outcome, Usage
from tests.books import Books, at, made, used
from tests.cli.conftest import Ran, Run
from tests.databases import Database, PostgresDatabases, SqliteFiles

MONTH = ("--month", "2026-03")

LISTED = ("--provider", "wcode", "--currency", "CNY", "--valid-from", "2026-03-01", "--source", "price page")

DONE = (
    ("rollup",),
    ("projects", "create", "billing", "--currency", "EUR"),
    ("projects", "rename", "search", "find"),
    ("keys", "rename", "a1b2", "laptop"),
    ("rates", "add", "lab/*", "input=1.5", "output=4", "--per-million", *LISTED),
    ("rates", "add", "lab/*", "input=3", "output=4", "--per-million", "--context-above", "200000", *LISTED),
    ("rates", "add", "lab/mystery-1", "input=1.2", "output=4", "--per-million", "--dry-run", "--json", *LISTED),
    ("rates", "end", "1", "--at", "2026-03-10T12:00+08:00", "--why", "price changed"),
    ("rates", "withdraw", "2", "--why", "typed wrong"),
)

ASKED = (
    *(("report", "--by", by, *MONTH) for by in ("key", "project", "model", "day", "user", "tag:feature")),
    ("report", "--by", "project", "--json", "--tz", "Asia/Kathmandu", *MONTH),
    ("report", "--by", "project", "--csv", *MONTH),
    *(("report", "--compare-provider", *form, *MONTH) for form in ((), ("--json",), ("--csv",))),
    *(("report", "--currency", code, *form, *MONTH) for code in ("USD", "JPY")
      for form in ((), ("--json",), ("--csv",))),
    ("fx", "list"),
    ("fx", "show", "CNY/USD", "--at", "2026-03-31", "--json"),
    ("calls",),
    ("calls", "--json"),
    ("calls", "--project", "find", "--limit", "1"),
    ("verify",),
    *((group, "list", *form) for group in ("rates", "projects", "keys", "sources", "rejected", "conflicts")
      for form in ((), ("--json",))),
    ("rates", "list", "--withdrawn", "--json", "--provider", "wcode"),
    ("rates", "show", "1"),
    ("rates", "show", "lab/*", "--json"),
    ("rates", "export", "--csv"),
    ("projects", "show", "find"),
    ("keys", "show", "laptop"),
    ("store", "show"),
    ("store", "show", "--json"),
    ("report", "--by", "tag:nobody", *MONTH),
    ("projects", "show", "serch"),
)  # fmt: skip


def fill(url: str) -> None:
    books = Books(url)
    cost = Usage(1000, 10, None, 200, 50, provider_cost=Money(Decimal("0.0200"), "CNY"))
    books.deliver(
        made(at("2026-03-02 10:00"), 1, tags={"feature": "结算"}, user="u-1"),
        made(at("2026-03-02 10:05"), 2, project="search", usage=cost, effort="high"),
        made(at("2026-03-31 23:59:59.999999"), 3, outcome=Outcome.INTERRUPTED, usage=Usage()),
        made(at("2026-03-15 01:00"), 4, request_model="lab/mystery-1", usage=used(10**12, 10**12)),
        made(at("2026-03-15 01:01"), 5, project=None, project_source=None, key_fingerprint="", key_last4=""),
        now=at("2026-04-01"),
        still_open=1,
    )
    again = books.journal.batch(replace(made(at("2026-03-02 10:00"), 1), finish_reason="other"))
    ingest(books.engine, again, at("2026-04-01 00:01"))
    report = replace(books.journal.batch().source, highest=9)
    ingest(books.engine, Batch(report, (Entry(9, b"no call"),)), at("2026-04-01 00:02"))
    days = ("2026-03-27", "1.154", "8.2"), ("2026-03-30", "1.1541", "8.2011")
    rates = [fx_rate("EUR", code, date.fromisoformat(day), rate, "ECB")
             for day, *each in days for code, rate in zip(("USD", "CNY"), each, strict=True)]  # fmt: skip
    fxbook.load(books.engine, rates, at("2026-04-01"), "ann@desk")
    books.close()


def answers(run: Run, databases: Database, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, ...], Ran]:
    url = databases.store("Asia/Shanghai")
    monkeypatch.setenv("ACCOUNTING_STORE_URL", url)
    fill(url)
    found = {command: run(*command) for command in (*DONE, *ASKED)}
    return {command: replace(ran, out=plain(ran.out, url), err=plain(ran.err, url)) for command, ran in found.items()}


def plain(text: str, url: str) -> str:
    """The text but for where the store is and what time it is."""
    return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:[\d.]+)?", "TIME", text.replace(without_secret(url), "URL"))


def test_every_command_answers_the_same_on_both_databases(
    run: Run, tmp_path: Path, postgresql: PostgresDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ours, theirs = (answers(run, databases, monkeypatch) for databases in (SqliteFiles(tmp_path), postgresql))
    for command in ours:
        assert theirs[command] == ours[command], command
        assert "Traceback" not in ours[command].err
    assert [command for command, ran in ours.items() if ran.code] == [("projects", "show", "serch")]
