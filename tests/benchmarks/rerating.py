"""What it takes to price calls in the books again, once their rates are others.

    python -m tests.benchmarks.rerating [--rows 1000000] [--database sqlite|postgresql]

Every call changes: it gets another rate, its former one goes to the log, and the spend tables follow. The aim is 10,000
calls a second on a core of its own, in memory that doesn't grow with them.

On two cores with a load of 1.5 a million calls on SQLite were priced again at 13,100 a second, at 75 µs of CPU each
with the database's work; a dry run looked at 49,000 a second. On PostgreSQL, at a load of 1.9, 200,000 were at 10,600 a
second, at 35 µs beside the server's, and 23,200 looked at. With a load of 8 it had been 2,200 and 3,200. The most
memory was 84 MB for the million, as it is for 100,000, and 94 MB on PostgreSQL.
"""

import argparse
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from accounting import ratebook, rerating
from accounting.cards import parse_card
from accounting.rerating import Which
from accounting.rollup import roll_all
from accounting.store import open_engine, schema, writing
from accounting.store.tables import sources
from tests.benchmarks.rollup import AT_ONCE, START, fill, now, place, seconds
from tests.books import Journal

ROWS = 100_000

CARD = 'provider = "wcode"\ncurrency = "CNY"\nsource = "{source}"\n' + "".join(
    f'[[rate]]\nmodel = "glm-{n}"\nvalid_from = {{valid_from}}\ninput = 0.011\ncache_read = {{read}}\noutput = 0.035\n'
    for n in range(3)
)


def filled(url: str, rows: int) -> None:
    """Books in which so many calls are rolled up, of three models, and then each of these has another rate."""
    engine = open_engine(url)
    schema.create(engine, "UTC", START)
    with writing(engine) as conn:
        row = {"id": 1, "journal": Journal().id, "host": "benchmark", "contiguous": rows, "highest": rows, "open": 0}
        row |= {"backlog": 0, "faults": {}, "first_seen_at": START, "seen_at": START}
        conn.execute(sources.insert().values(row))
        card = CARD.format(source="former", valid_from="2026-01-01", read="0.0022")
        ratebook.load(conn, parse_card(card, "card.toml"), START)
    for first in range(0, rows, AT_ONCE):
        fill(engine, first, min(first + AT_ONCE, rows))
    roll_all(engine, now)
    with writing(engine) as conn:
        card = CARD.format(source="newer", valid_from="2026-01-02", read="0.002")
        ratebook.load(conn, parse_card(card, "card.toml"), START)
    engine.dispose()


@dataclass(frozen=True)
class Took:
    """How long it took, how much of that this process was at work, and the most memory that it had."""

    seconds: float
    cpu_seconds: float
    most_bytes: int


def rerated(url: str, rows: int, dry_run: bool) -> Took:
    engine = open_engine(url)
    begin, at_work = time.perf_counter(), time.process_time()
    done = rerating.rerate(engine, Which(model="*"), now, "benchmark", "benchmark", dry_run=dry_run).done
    took, at_work = time.perf_counter() - begin, time.process_time() - at_work
    assert (done.seen, done.changed, done.recosted) == (rows, rows, rows - rows // 500 - (rows % 500 > 0)), done
    engine.dispose()
    return Took(took, at_work, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)  # in KiB on Linux


def measure(url: str, rows: int) -> None:
    print(f"    {rows:,} calls made and rolled up in {seconds(lambda: filled(url, rows)):.0f} s")
    for dry_run in (True, False):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as beside:  # with a memory of its own
            took = beside.submit(rerated, url, rows, dry_run).result()
        what = "looked at, a dry run" if dry_run else "priced again"
        rate, at_work = rows / took.seconds, took.cpu_seconds / rows * 1e6
        print(f"    {what}: {rate:,.0f} calls/s; {at_work:.0f} µs of CPU here a call; {took.most_bytes / 2**20:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    chosen = parser.parse_args()
    for database in chosen.database or ["sqlite", "postgresql"]:
        print(database)
        with place(database) as url:
            measure(url, chosen.rows)


if __name__ == "__main__":
    main()
