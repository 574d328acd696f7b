"""Books for a test: a store in a file, calls made by hand, and a journal that hands them over."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Engine, Table, event, select

from accounting import ratebook
from accounting.cards import parse_card
from accounting.ingest import ingest
from accounting.places import sqlite_url
from accounting.ports import Batch, Entry, SourceReport, Verdict
from accounting.rollup import Rolled, roll_all
from accounting.spend import ALL, Report, spend
from accounting.spend_rows import Scope
from accounting.store import is_postgresql, open_engine, reading, schema, writing
from accounting.usage import Call, Outcome, Usage, UsageSource

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(text: str) -> datetime:
    """`2026-11-03 10:05+08:00` as an instant; without an offset in UTC."""
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)


def used(
    tokens_in: int, tokens_out: int, *, read: int | None = None, write: int | None = None, thought: int | None = None
) -> Usage:
    """What a provider said was used; of the input `read` from and `write` to a cache, of the output `thought`."""
    return Usage(tokens_in, read, write, tokens_out, thought, UsageSource.PROVIDER)


def made(started_at: datetime = NOON, number: int = 1, **changes: Any) -> Call:
    """A finished call of 1000 tokens in and 200 out; `number` tells calls of one millisecond apart."""
    milliseconds = int(started_at.timestamp() * 1000)
    call = Call(
        id=UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | number),
        started_at=started_at,
        provider="wcode",
        endpoint="chat/completions",
        outcome=Outcome.FINISHED,
        request_model="z-ai/glm-5",
        key_fingerprint="a1" * 32,
        key_last4="a1b2",
        project="checkout",
        project_source="meter",
        http_status=200,
        usage=used(1000, 200),
    )
    return replace(call, **changes)


class Journal:
    """Numbers calls as a process's journal does, and hands them to the store in batches."""

    def __init__(self, name: str = "journal") -> None:
        self.id = uuid5(UUID(int=0), name)
        self.numbers: dict[UUID, int] = {}

    def batch(self, *calls: Call, seen_at: datetime = NOON, still_open: int = 0) -> Batch:
        """Calls that were in a batch before keep their numbers: that is a delivery once more."""
        entries = [Entry(self._number(call), call.encode()) for call in calls]
        source = SourceReport(
            journal=self.id,
            host="build-7",
            highest=len(self.numbers) + still_open,
            open=still_open,
            backlog=0,
            oldest_undelivered_at=seen_at if still_open else None,
            seen_at=seen_at,
        )
        return Batch(source, tuple(sorted(entries, key=lambda entry: entry.number)))

    def _number(self, call: Call) -> int:
        return self.numbers.setdefault(call.id, len(self.numbers) + 1)


class Books:
    """A store at a URL, or in a folder, with the shipped rates; made where there is none yet."""

    def __init__(self, place: str | Path, zone: str = "UTC") -> None:
        self.url = place if isinstance(place, str) else sqlite_url(place / "books.sqlite3")
        self.engine: Engine = open_engine(self.url)
        schema.create(self.engine, zone, NOON)
        self.journal = Journal()

    def load(self, card: str) -> None:
        with writing(self.engine) as conn:
            ratebook.load(conn, parse_card(card, "card.toml"), NOON)

    def deliver(self, *calls: Call, now: datetime = NOON, still_open: int = 0) -> list[Verdict]:
        """One batch of the books' own journal; the verdicts in the order of the calls."""
        batch = self.journal.batch(*calls, seen_at=now, still_open=still_open)
        verdicts = ingest(self.engine, batch, now)
        return [verdicts[self.journal.numbers[call.id]] for call in calls]

    def roll(self, now: datetime = NOON) -> Rolled:
        return roll_all(self.engine, lambda: now)

    def spend(self, by: str, *period: Any, now: datetime = NOON, scope: Scope = ALL) -> Report:
        """Spend by the group; `period` is first day, day after the last, zone, as far as given."""
        first, end, zone = (*period, None, None, None)[:3]
        with reading(self.engine) as conn:
            return spend(conn, by, first, end, zone, scope, now=now)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        with reading(self.engine) as conn:
            return [dict(row) for row in conn.execute(select(table)).mappings()]

    def overwrite(self, table: Table, column: str, change: int | Decimal) -> None:
        """Add to one figure of the first row, behind the back of the program."""
        row = self.rows(table)[0]
        this = [key == row[key.name] for key in table.primary_key]
        with writing(self.engine) as conn:
            conn.execute(table.update().where(*this).values({column: (row[column] or 0) + change}))

    @contextmanager
    def asked(self) -> Iterator[list[tuple[str, Any]]]:
        """The statements that were put to any database inside the block, with their parameters."""
        statements: list[tuple[str, Any]] = []

        def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
            statements.append((statement, parameters))

        event.listen(Engine, "before_cursor_execute", note)
        try:
            yield statements
        finally:
            event.remove(Engine, "before_cursor_execute", note)

    def plan(self, statement: str, parameters: Any) -> list[str]:
        """How the database goes about it, if by an index can be at all: of a small table it would read all."""
        with reading(self.engine) as conn:
            if is_postgresql(conn):
                conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
                return list(conn.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
            return [row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]

    def refuse(self, table: Table, when: str) -> None:
        """From now on the database refuses such rows (`new.number = 2`) for their contents: "not this"."""
        self._trip(table, when, "SELECT RAISE(ABORT, 'not this')", "RAISE 'not this' USING ERRCODE = '23514'")

    def fail(self, table: Table) -> None:
        """From now on no row gets in, whatever it holds: an OperationalError that says "disk_full"."""
        self._trip(table, "true", "SELECT 1 FROM disk_full", "RAISE 'disk_full' USING ERRCODE = '53100'")

    def mend(self, table: Table) -> None:
        """Rows get in again."""
        with writing(self.engine) as conn:
            conn.exec_driver_sql(f"DROP TRIGGER trip_{table}" + (f" ON {table}" if is_postgresql(conn) else ""))

    def _trip(self, table: Table, when: str, on_sqlite: str, on_postgresql: str) -> None:
        with writing(self.engine) as conn:
            action = f"BEGIN {on_sqlite}; END"
            if is_postgresql(conn):
                function = f"CREATE OR REPLACE FUNCTION trip_{table}() RETURNS trigger LANGUAGE plpgsql"
                conn.exec_driver_sql(f"{function} AS $$ BEGIN {on_postgresql}; END $$")
                when, action = f"({when})", f"EXECUTE FUNCTION trip_{table}()"
            conn.exec_driver_sql(
                f"CREATE TRIGGER trip_{table} BEFORE INSERT ON {table} FOR EACH ROW WHEN {when} {action}"
            )

    def close(self) -> None:
        self.engine.dispose()
