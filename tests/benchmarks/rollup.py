"""What it takes to roll calls up.

    python -m tests.benchmarks.rollup [--rows 5000000] [--database sqlite|postgresql]

Yardstick: a bare `INSERT … SELECT … GROUP BY` of the same columns from the same calls into the same tables, one for
each of them, unpriced and in one transaction; it takes turns with ours, and the best of the rounds counts. The
promise: at most 1.5 times as long, and for the newest hundredth of the calls about a hundredth of what all cost.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, Table

from accounting.contributions import COUNTS, ESTIMATES, FIGURES, SPEND_TABLES, group_columns
from accounting.places import sqlite_url
from accounting.rollup import roll_all
from accounting.store import is_postgresql, open_engine, schema, writing
from accounting.store.tables import batches, sources, spend_by_tag, spend_days, spend_quarters
from accounting.usage import COUNTED
from tests import databases
from tests.books import Journal

ROWS = 200_000
BATCH = 500
"""Calls that are delivered together."""
AT_ONCE = 500_000
"""Calls that are made in one transaction."""
CALLS_A_SECOND = 2
ROUNDS = 3
START = datetime(2026, 2, 1, tzinfo=UTC)
DURABLE = ("fsync = on", "full_page_writes = on", "synchronous_commit = on", "autovacuum = on", "max_wal_size = '8GB'")


def now() -> datetime:
    return datetime.now(UTC)


def fill(engine: Engine, first: int, end: int) -> None:
    """Calls from one number to before another, made by the database: of 50 keys, 10 projects, 3 models, 200 users."""
    with writing(engine) as conn:
        conn.exec_driver_sql(_insertion(first, end, is_postgresql(engine)))
        counts = "count(*), count(*), 0, 0, 0, 0"
        received = "now()" if is_postgresql(engine) else "0"
        names = "id, source_id, received_at, entries, inserted, duplicates, superseded, conflicts, rejected"
        chosen = f"SELECT batch_id, 1, {received}, {counts} FROM calls WHERE batch_id >= {first // BATCH}"
        conn.exec_driver_sql(f"INSERT INTO batches ({names}) {chosen} GROUP BY batch_id")


def _insertion(first: int, end: int, on_postgresql: bool) -> str:
    columns = _columns(on_postgresql)
    numbers = f"generate_series({first}::bigint, {end - 1}) AS numbers(n)"
    series = ""
    if not on_postgresql:
        series = (
            f"WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {end - 1}) "
        )
        numbers = "numbers"
    statement = f"INSERT INTO calls ({', '.join(columns)}) {series}SELECT {', '.join(columns.values())} FROM {numbers}"
    return statement.replace("%", "%%") if on_postgresql else statement


def _columns(on_postgresql: bool) -> dict[str, str]:
    """What each column of a call is, of the number `n`."""
    milliseconds = f"({int(START.timestamp() * 1000)} + n * {1000 // CALLS_A_SECOND})"
    key, model = "(n * 7919 % 50)", "('glm-' || (n * 31 % 97 % 3))"
    one = """{"feature":"f' || (n % 8) || '"}"""
    two = """{"feature":"f' || (n % 8) || '","team":"t' || (n % 5) || '"}"""
    tags = f"CASE n % 3 WHEN 0 THEN '{{}}' WHEN 1 THEN '{one}' ELSE '{two}' END"
    if on_postgresql:
        hexed = f"lpad(to_hex({milliseconds}), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0')"
        own = {
            "id": f"({hexed})::uuid",
            "digest": "decode(md5(n::text) || md5((-n)::text), 'hex')",
            "tags": f"({tags})::jsonb",
            "anomalies": "'[]'::jsonb",
            "stream": "false",
            "started_at": f"to_timestamp({milliseconds} / 1000.0)",
            "quarter": f"to_timestamp({milliseconds} / 900000 * 900)",
            "billed_on": f"(to_timestamp({milliseconds} / 1000.0) AT TIME ZONE 'UTC')::date",
        }
    else:
        own = {
            "id": f"printf('%012x70008000%012x', {milliseconds}, n)",
            "digest": "randomblob(32)",
            "tags": tags,
            "anomalies": "'[]'",
            "stream": "0",
            "started_at": f"{milliseconds} * 1000",
            "quarter": f"{milliseconds} / 900000 * 900000000",
            "billed_on": f"date({milliseconds} / 1000, 'unixepoch')",
        }
    return {
        **own,
        "first_token_at": own["started_at"],
        "ended_at": own["started_at"],
        "batch_id": f"n / {BATCH}",
        "source_id": "1",
        "number": "n + 1",
        "provider": "'wcode'",
        "endpoint": "'chat/completions'",
        "request_model": model,
        "response_model": model,
        "model": model,
        "response_id": "'chatcmpl-' || n",
        "key_id": f"1 + {key}",
        "project_id": f"1 + {key} % 10",
        "project_source": "'key'",
        "end_user": f"CASE n % 2 WHEN 0 THEN 'u-' || ({key} * 4 + n % 4) END",
        "attempt": "1",
        "effort": "''",
        "max_tokens": "4096",
        "bytes_in": "2000",
        "bytes_out": "9000",
        "http_status": "200",
        "outcome": "CASE WHEN n % 100 = 7 THEN 'failed' ELSE 'finished' END",
        "finish_reason": "'stop'",
        "input_tokens": "1000 + n % 777",
        "cache_read_tokens": "n % 500",
        "output_tokens": "200 + n % 333",
        "reasoning_tokens": "n % 100",
        "usage_source": "'provider'",
        "usage_block": """'{"prompt_tokens": 1234, "completion_tokens": 321, "total_tokens": 1555,
            "prompt_tokens_details": {"cached_tokens": 123}, "completion_tokens_details": {"reasoning_tokens": 45}}'""",
        "rate_id": "1 + n * 31 % 97 % 3",
    }


def bare(engine: Engine) -> None:
    pairs = "jsonb_each_text" if is_postgresql(engine) else "json_each"
    with writing(engine) as conn:
        _add_bare(conn, spend_quarters, {}, "calls")
        _add_bare(conn, spend_days, {}, "calls")
        _add_bare(
            conn, spend_by_tag, {"tag": "'tag:' || pair.key", "value": "pair.value"}, f"calls, {pairs}(tags) AS pair"
        )
        _add_bare(conn, spend_by_tag, {"tag": "'user'", "value": "end_user"}, "calls WHERE end_user IS NOT NULL")


def _add_bare(conn: Connection, table: Table, special: Mapping[str, str], source: str) -> None:
    group = [special.get(name, name) for name in group_columns(table)]
    endings = (f"sum(CASE WHEN outcome = '{name}' THEN 1 ELSE 0 END)" for name in COUNTS[1:-1])
    quantities = [f"coalesce(sum({name}), 0)" for name in (*COUNTED, *ESTIMATES)]
    quantities.append(f"count(coalesce({', '.join(ESTIMATES)}))")
    into = ", ".join((*group_columns(table), *FIGURES))
    sums = ", ".join((*group, "count(*) - count(parent_id)", *endings, "count(parent_id)", *quantities))
    places = ", ".join(map(str, range(1, len(group) + 1)))
    conn.exec_driver_sql(f"INSERT INTO {table} ({into}) SELECT {sums} FROM {source} GROUP BY {places}")


def emptied(engine: Engine) -> None:
    with writing(engine) as conn:
        for table in SPEND_TABLES:
            conn.execute(table.delete())
        conn.execute(batches.update().values(rolled_at=None))
    if is_postgresql(engine):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql("VACUUM ANALYZE")


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(url: str, rows: int) -> None:
    engine = open_engine(url)
    schema.create(engine, "UTC", START)
    journal = Journal().id
    with writing(engine) as conn:
        row = {"id": 1, "journal": journal, "host": "benchmark", "contiguous": rows, "highest": rows, "open": 0}
        row |= {"backlog": 0, "faults": {}, "first_seen_at": START, "seen_at": START}
        conn.execute(sources.insert().values(row))
    for first in range(0, rows, AT_ONCE):
        fill(engine, first, min(first + AT_ONCE, rows))
    yardstick, ours = [], []
    for _ in range(ROUNDS if rows <= ROWS else 1):
        emptied(engine)
        yardstick.append(seconds(lambda: bare(engine)))
        emptied(engine)
        ours.append(seconds(lambda: roll_all(engine, now)))
    best, all_ = min(yardstick), min(ours)
    bare_us, our_us = best / rows * 1e6, all_ / rows * 1e6
    print(
        f"    {rows:,} calls: {our_us:.2f} µs a call, {our_us / bare_us:.2f} times a bare GROUP BY ({bare_us:.2f} µs)"
    )
    more = max(rows // 100 // BATCH, 1) * BATCH
    fill(engine, rows, rows + more)
    newest = seconds(lambda: roll_all(engine, now))
    print(f"    the newest {more:,}, {more / rows:.2%} as many: {newest:.3f} s, {newest / all_:.2%} of {all_:.1f} s")
    engine.dispose()


@contextmanager
def place(database: str) -> Iterator[str]:
    """The URL of an empty database that is as durable as one that matters."""
    if database == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield sqlite_url(Path(folder) / "books.sqlite3")
        return
    with databases.running() as server:
        server.execute(*(f"ALTER SYSTEM SET {setting}" for setting in DURABLE), "SELECT pg_reload_conf()")
        yield server.url(server.add())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    chosen = parser.parse_args()
    for database in chosen.database or ["sqlite", "postgresql"]:
        print(database)
        with place(database) as url:
            compare(url, chosen.rows)


if __name__ == "__main__":
    main()
