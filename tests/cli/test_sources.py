import json
from dataclasses import replace
from uuid import UUID

import pytest

from accounting.ingest import ingest
from accounting.ports import Batch
from tests.books import Books, Journal, at, made
from tests.cli.conftest import Run


def test_a_journal_is_listed_with_what_it_still_holds(run: Run, books: Books) -> None:
    books.deliver(made(), still_open=2)
    source = json.loads(run("sources", "list", "--json").out)["sources"][0]
    assert source["journal"] == str(books.journal.id)
    assert (source["highest"], source["open"], source["missing"]) == (3, 2, 0)
    row = run("sources", "list").lines[1].split()
    assert row[:2] == [str(books.journal.id), "build-7"]


def test_a_silent_journal_holds_the_total_back_until_it_is_written_off(run: Run, books: Books) -> None:
    morning, evening = at("2026-03-23 10:58:12"), at("2026-03-23 20:15")
    books.deliver(made(morning), still_open=1, now=morning)
    another = Journal("another").batch(seen_at=evening).source
    ingest(books.engine, Batch(replace(another, closed_at=evening)), evening)
    before = run("report", "--month", "2026-03").out
    assert f"Silent since 2026-03-23 10:58:12 UTC: journal {books.journal.id} on build-7." in before
    assert "Complete until 2026-03-23 10:58:12 UTC" in before
    ran = run("sources", "close", str(books.journal.id)[:8], "--why", "the machine burnt down")
    assert ran.out == f"Closed journal {books.journal.id} on build-7; 1 call it still held is in no total.\n"
    after = run("report", "--month", "2026-03").out
    assert "Silent" not in after
    assert "Complete until 2026-03-23 20:15:00 UTC" in after
    assert "written off: the machine burnt down" in run("sources", "list").out


def test_an_id_that_names_no_journal_is_refused(run: Run, books: Books) -> None:
    ran = run("sources", "close", "ffff", "--why", "x")
    assert (ran.code, ran.out) == (2, "")
    assert "'ffff' names no journal" in ran.err


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_id_closes_nothing_though_there_is_one_journal(run: Run, books: Books, empty: str) -> None:
    books.deliver(made())
    ran = run("sources", "close", empty, "--why", "x")
    assert (ran.code, ran.out) == (2, "")
    assert "An empty id names no journal" in ran.err
    assert "written off" not in run("sources", "list").out


def test_an_id_that_names_several_journals_closes_none(run: Run, books: Books) -> None:
    one, other = (UUID(int=0xAB << 120 | n) for n in (1, 2))
    source = books.journal.batch(made()).source
    for journal in (one, other):
        ingest(books.engine, Batch(replace(source, journal=journal)), source.seen_at)
    ran = run("sources", "close", "ab", "--why", "x")
    assert (ran.code, ran.out) == (2, "")
    assert "'ab' names 2 journals" in ran.err
    assert "written off" not in run("sources", "list").out


def test_without_journals_the_list_says_so(run: Run, books: Books) -> None:
    assert run("sources", "list").out == "No journal has reported yet.\n"
