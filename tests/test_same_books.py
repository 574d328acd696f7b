"""The same journals make the same books on SQLite and on PostgreSQL."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounting import ratebook
from accounting.cards import parse_card
from accounting.ingest import ingest
from accounting.money import plain
from accounting.ports import Batch, Entry
from accounting.rates import CLASSES
from accounting.restate import Order, restate
from accounting.rollup import roll
from accounting.spend import BY, Report
from accounting.store import writing
from accounting.store.tables import calls, metadata, projects
from accounting.usage import Call, Outcome
from accounting.verify import verify
from tests.books import NOON, Books, Journal, made
from tests.databases import Database, PostgresDatabases, SqliteFiles
from tests.test_laws import UNPRICED, card, usages

NAMES = ("project_id", "key_id", "source_id", "rate_id", "batch_id", "restatement_id", "id")
PRICES = (Decimal(2), Decimal("0.1"), Decimal("3.000000001"), *map(Decimal, range(7, 4 + len(CLASSES))))

texts = st.text(max_size=20) | st.sampled_from(("checkout", "结算", "O'Hara \\N\t\n\r", "%s :x ?", "a\0b", "\ud800"))
tags = st.dictionaries(st.just("feature") | texts, texts, max_size=3)
outcomes = st.sampled_from((Outcome.FINISHED, Outcome.FINISHED, Outcome.FAILED, Outcome.INTERRUPTED, Outcome.UNKNOWN))


@st.composite
def some_calls(draw: st.DrawFn) -> list[Call]:
    """Calls of a few ids, so that some come again with other contents."""
    return [
        made(
            NOON - timedelta(minutes=draw(st.integers(0, 3000)), microseconds=draw(st.integers(0, 999))),
            number,
            request_model=draw(st.sampled_from(("priced", "free", UNPRICED)) | texts),
            response_model=draw(st.none() | texts),
            project=draw(st.sampled_from((None, "checkout", "search")) | texts),
            key_fingerprint=draw(st.sampled_from(("a1" * 32, "c3" * 32, ""))),
            outcome=draw(outcomes),
            effort=draw(st.sampled_from((None, "high"))),
            user=draw(st.none() | texts),
            tags=draw(tags),
            attempt=draw(st.sampled_from((1, 2, 2**31 - 1, 2**31))),
            max_tokens=draw(st.none() | st.sampled_from((0, 2**31, 2**63 - 1, 2**63))),
            parent_id=draw(st.sampled_from((None, None, made().id))),
            usage=draw(usages(most=draw(st.sampled_from((5000, 10**12, 10**13))))),
        )
        for number in range(draw(st.integers(1, 6)))
    ]


Step = Callable[[Books], object]


def rolls(books: Books) -> object:
    return roll(books.engine, NOON, limit=2)


def loads(books: Books) -> object:
    """From a day in the middle of the calls other prices hold."""
    later = card((Decimal(1),) * len(CLASSES)).replace("2026-01-01", "2026-11-22T12:00:00Z").replace("test", "new")
    with writing(books.engine) as conn:
        return ratebook.load(conn, parse_card(later, "later.toml"), NOON)


def moves(books: Books) -> object:
    """Every call of the project checkout goes to the one that came first."""
    with writing(books.engine) as conn:
        first = conn.scalar(sa.select(projects.c.id).order_by(projects.c.name))
    checkout = sa.select(projects.c.id).where(projects.c.name == "checkout").scalar_subquery()
    order = Order("project-moved", {"from": "checkout"}, "ann@laptop", "test")
    return restate(
        books.engine,
        order,
        calls.c.project_id == checkout,
        lambda _, rows: {row["id"]: {"project_id": first} for row in rows},
        lambda: NOON,
    )


def delivers(batch: Batch) -> Step:
    return lambda books: ingest(books.engine, batch, NOON)


@st.composite
def batches(draw: st.DrawFn, journal: str, before: int) -> Batch:
    """Of this journal, `before` of which are gone: calls, the same with other outcomes, and bytes that are no call."""
    some = draw(some_calls())
    payloads = [replace(call, outcome=draw(outcomes)).encode() for call in some] + [call.encode() for call in some]
    payloads += draw(st.lists(st.binary(max_size=8), max_size=2))
    once = draw(st.permutations(sorted(set(payloads))))
    entries = tuple(Entry(before + place, payload) for place, payload in enumerate(once, 1))
    report = replace(Journal(journal).batch().source, highest=before + len(entries))
    return Batch(report, entries)


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """What may happen to books, in any order; two journals deliver, and some of it again."""
    delivered: dict[str, list[Batch]] = {"one": [], "two": []}
    done: list[Step] = []
    others: dict[str, Step] = {"roll": rolls, "load": loads, "move": moves}
    for journal in draw(st.lists(st.sampled_from((*delivered, *others)), min_size=1, max_size=8)):
        if journal in others:
            done.append(others[journal])
            continue
        sent = delivered[journal]
        if not sent or draw(st.integers(0, 3)):
            sent.append(draw(batches(journal, sum(len(batch.entries) for batch in sent))))
        done.append(delivers(draw(st.sampled_from(sent))))
    return done


@pytest.fixture
def both(postgresql: PostgresDatabases, tmp_path: Path) -> Any:
    @contextmanager
    def both() -> Iterator[tuple[Books, Books]]:
        databases: tuple[Database, ...] = (SqliteFiles(tmp_path), postgresql)
        urls = [database.store("Asia/Shanghai") for database in databases]
        with closing(Books(urls[0])) as one, closing(Books(urls[1])) as other:
            for books in (one, other):
                books.load(card(PRICES))
            yield one, other
        for database, url in zip(databases, urls, strict=True):
            database.drop(url)

    return both


# Without looking for the shortest steps that fail, which takes minutes: the assertion shows the rows that differ.
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.reuse, Phase.generate))
@given(done=steps())
def test_the_same_steps_make_the_same_books_on_both_databases(both: Any, done: list[Step]) -> None:
    with both() as (one, other):
        for step in done:
            assert step(one) == step(other)
        ours, theirs = contents(one), contents(other)
        assert (sorted(ours - theirs), sorted(theirs - ours)) == ([], [])
        assert reports(one) == reports(other)
        found = [verify(books.engine) for books in (one, other)]
        assert found[0] == found[1]


def reports(books: Books) -> list[Report]:
    return [books.spend(by.replace("KEY", "feature")) for by in BY]


def contents(books: Books) -> Counter[str]:
    """Every row of the books, in any order, with names for numbers that the database chose itself."""
    rows = {table.name: books.rows(table) for table in metadata.sorted_tables}
    named = {
        "project_id": {row["id"]: row["name"] for row in rows["projects"]},
        "key_id": {row["id"]: row["fingerprint"] for row in rows["keys"]},
        "source_id": {row["id"]: row["journal"] for row in rows["sources"]},
        "rate_id": {row["id"]: (row["model"], row["source"]) for row in rows["rates"]},
        "batch_id": {row["id"]: (row["min_call_id"], row["entries"]) for row in rows["batches"]},
        "restatement_id": {row["id"]: (row["kind"], row["why"]) for row in rows["restatements"]},
    }
    del rows["store"]
    return Counter(
        f"{table}: {[(column, _plain(column, value, named)) for column, value in row.items()]}"
        for table, found in rows.items()
        for row in found
    )


def _plain(column: str, value: Any, named: dict[str, dict[Any, Any]]) -> Any:
    if column in named:
        return named[column].get(value, value)
    if column == "id" and isinstance(value, int):
        return None
    if isinstance(value, dict):
        return sorted(value.items())
    return plain(value) if isinstance(value, Decimal) else value
