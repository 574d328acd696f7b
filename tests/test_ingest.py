"""How delivered batches become rows."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from accounting.errors import SchemaMismatch, StoreMissing
from accounting.ingest import StoreDestination, ingest
from accounting.money import Money
from accounting.places import sqlite_url
from accounting.ports import Batch, Entry, Verdict, open_destination
from accounting.store import altering, is_postgresql, open_engine, reading, writing
from accounting.store.tables import batches, calls, conflicts, keys, projects, rates, received_ahead, rejected, sources
from accounting.store.tables import store as store_table
from accounting.usage import COUNTED, MAX_COUNT, Outcome, Usage, UsageSource
from tests.books import NOON, Books, Journal, at, made, used
from tests.conftest import NewBooks
from tests.databases import Database

INSERTED, DUPLICATE, SUPERSEDED, CONFLICT, REJECTED = Verdict


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    (row,) = rows
    return row


def delivered(books: Books, *payloads: bytes) -> list[Verdict]:
    """Bytes as they are, numbered from 1."""
    entries = tuple(Entry(number, payload) for number, payload in enumerate(payloads, 1))
    source = replace(Journal("raw").batch().source, highest=len(entries))
    verdicts = ingest(books.engine, Batch(source, entries), NOON)
    return [verdicts[entry.number] for entry in entries]


def test_a_call_is_kept_with_all_that_is_known_of_it(books: Books) -> None:
    usage = Usage(
        15, 3, 2, 210, 210, UsageSource.PROVIDER, ("reasoning_exceeds_output",), "{}", Money(Decimal("0.0075"), "USD")
    )
    call = made(
        response_model="z-ai/glm-5",
        request_model="glm",
        response_id="r-1",
        user="u-17",
        tags={"feature": "rerank"},
        attempt=2,
        link_id=uuid4(),
        stream=True,
        effort="high",
        max_tokens=500,
        first_token_at=NOON + timedelta(microseconds=1),
        ended_at=NOON + timedelta(seconds=1),
        bytes_in=10,
        bytes_out=20,
        finish_reason="stop",
        usage=usage,
    )
    assert books.deliver(call) == [INSERTED]
    row = only(books.rows(calls))
    same = (
        "id started_at provider endpoint outcome request_model response_model response_id tags attempt link_id stream"
    )
    same += " effort max_tokens first_token_at ended_at bytes_in bytes_out http_status finish_reason project_source"
    assert {name: row[name] for name in same.split()} == {name: getattr(call, name) for name in same.split()}
    assert (row["model"], row["end_user"]) == ("z-ai/glm-5", "u-17")
    tokens = [row[f"{name}_tokens"] for name in ("input", "cache_read", "cache_write", "output", "reasoning")]
    assert tokens == [15, 3, 2, 210, 210]
    assert (row["usage_source"], row["anomalies"], row["usage_block"]) == (
        "provider",
        ["reasoning_exceeds_output"],
        "{}",
    )
    assert (row["provider_cost"], row["provider_cost_currency"]) == (Decimal("0.0075"), "USD")


def test_a_call_is_stamped_with_the_rate_that_held_when_it_began(books: Books) -> None:
    head = 'provider = "wcode"\ncurrency = "CNY"\nsource = "test"\n'
    books.load(f'{head}[[rate]]\nmodel = "m"\nvalid_from = 2026-11-01\ninput = 1\noutput = 1\n')
    books.load(f'{head}[[rate]]\nmodel = "m"\nvalid_from = 2026-11-23\ninput = 2\noutput = 2\n')
    times = (at("2026-10-31 23:59:59.999999"), at("2026-11-01"), at("2026-11-22 23:59:59.999999"), at("2026-11-23"))
    books.deliver(*(made(time, request_model="m") for time in times))
    prices = {row["id"]: row["input_per_1k"] for row in books.rows(rates)}
    assert [prices.get(row["rate_id"]) for row in books.rows(calls)] == [None, 1, 1, 2]


def test_a_call_is_billed_on_the_day_it_began_where_the_books_are(new_books: NewBooks) -> None:
    books = new_books(zone="Asia/Shanghai")
    books.deliver(made(at("2026-11-22 15:59:59")), made(at("2026-11-22 16:00")))
    stamped = [(row["billed_on"], row["quarter"]) for row in books.rows(calls)]
    assert stamped == [
        (date(2026, 11, 22), at("2026-11-22 15:45")),
        (date(2026, 11, 23), at("2026-11-22 16:00")),
    ]


def test_calls_name_their_project_and_key_by_one_row_each(books: Books) -> None:
    books.deliver(made(number=1), made(number=2, project="search"), made(number=3, project=None, project_source=None))
    books.deliver(made(number=4), made(number=5, key_fingerprint="", key_last4=""))
    names = {row["id"]: row["name"] for row in books.rows(projects)}
    shown = [(names[row["project_id"]], row["project_source"]) for row in books.rows(calls)]
    assert shown == [
        ("checkout", "meter"),
        ("search", "meter"),
        ("unassigned", "default"),
        ("checkout", "meter"),
        ("checkout", "meter"),
    ]
    assert [(row["fingerprint"], row["last4"]) for row in books.rows(keys)] == [("a1" * 32, "a1b2"), ("", "")]


def test_a_call_delivered_twice_is_there_once(books: Books) -> None:
    assert books.deliver(made(number=1)) == [INSERTED]
    before = [books.rows(table) for table in (calls, batches, conflicts, rejected)]
    assert books.deliver(made(number=1)) == [DUPLICATE]
    assert [books.rows(table) for table in (calls, batches, conflicts, rejected)] == before


def test_a_call_twice_in_one_batch_is_there_once(books: Books) -> None:
    payload, other = made().encode(), made(user="u-2").encode()
    assert delivered(books, payload, payload, other) == [INSERTED, DUPLICATE, CONFLICT]
    batch = only(books.rows(batches))
    assert [batch[name] for name in ("entries", "inserted", "duplicates", "conflicts")] == [3, 1, 1, 1]


def test_other_contents_for_a_known_id_are_kept_aside_once(books: Books) -> None:
    books.deliver(made(usage=used(1000, 200)))
    other = made(usage=used(1000, 201))
    assert books.deliver(other) == books.deliver(other) == [CONFLICT]
    assert only(books.rows(calls))["output_tokens"] == 200
    assert only(books.rows(conflicts))["payload"] == other.encode()


def test_what_is_no_call_is_kept_once_and_a_delivery_again_is_no_batch(books: Books) -> None:
    for _ in range(2):
        assert delivered(books, b"no call", b"nor this") == [REJECTED, REJECTED]
    assert len(books.rows(rejected)) == 2
    assert only(books.rows(batches))["rejected"] == 2


def test_two_journals_that_deliver_one_call_deliver_it_once(books: Books) -> None:
    assert books.deliver(made()) == [INSERTED]
    assert list(ingest(books.engine, Journal("heir").batch(made()), NOON).values()) == [DUPLICATE]


def too_much(name: str) -> Usage:
    """More of one quantity than any call can use."""
    more: dict[str, Any] = {name: MAX_COUNT + 1}
    return used(1, 1)._replace(**more)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xff not JSON", "Not JSON"),
        (b"[" * 100_000, "Not JSON"),
        (made(outcome=None).encode(), "outcome: missing"),
        (made(id=uuid4()).encode(), "no UUIDv7"),
        (made(NOON + timedelta(hours=24, seconds=1)).encode(), "24 h ahead"),
        (made(id=UUID(int=made().id.int | 0xFFFF << 112)).encode(), "24 h ahead"),
        (made(started_at=NOON, id=made().id).encode().replace(b"2026-11-23", b"0001-01-01"), "is before 2000"),
        (
            made(NOON - timedelta(seconds=61), id=made().id).encode(),
            "12:00:00+00:00, started_at is 2026-11-23 11:58:59",
        ),
        (made(NOON, id=made(NOON - timedelta(seconds=61)).id).encode(), "more than a minute apart"),
        *((made(usage=too_much(name)).encode(), f"{name}: ") for name in COUNTED),
    ],
)
def test_bytes_that_describe_no_call_are_kept_with_the_reason(books: Books, payload: bytes, reason: str) -> None:
    assert delivered(books, payload, made(number=2).encode()) == [REJECTED, INSERTED]
    assert delivered(books, payload, made(number=2).encode()) == [REJECTED, DUPLICATE]
    row = only(books.rows(rejected))
    assert row["payload"] == payload
    assert reason in row["reason"]
    assert len(books.rows(calls)) == 1


def test_a_call_a_day_ahead_is_still_taken(books: Books) -> None:
    assert books.deliver(made(NOON + timedelta(hours=24))) == [INSERTED]


def test_an_id_may_be_made_a_minute_before_or_after_the_start(books: Books) -> None:
    minute = timedelta(minutes=1)
    ids = [made(NOON - minute, 1).id, made(NOON, 2).id]
    assert books.deliver(made(NOON, id=ids[0]), made(NOON - minute, id=ids[1])) == [INSERTED] * 2


def test_one_call_that_the_database_refuses_does_not_hold_up_the_others(books: Books) -> None:
    books.refuse(calls, "new.end_user = 'u-0'")
    users = {number: "u-0" if number in (3, 4, 18) else "u-1" for number in range(1, 21)}
    payloads = [made(number=number, user=user).encode() for number, user in users.items()]
    verdicts = delivered(books, *payloads)
    assert [number for number, verdict in enumerate(verdicts, 1) if verdict is REJECTED] == [3, 4, 18]
    assert verdicts.count(INSERTED) == 17
    reason = "CheckViolation: not this" if is_postgresql(books.engine) else "IntegrityError: not this"
    kept = [(row["payload"], row["reason"]) for row in books.rows(rejected)]
    assert kept == [(payloads[number - 1], reason) for number in (3, 4, 18)]
    source = only(books.rows(sources))
    assert (source["contiguous"], source["highest"]) == (20, 20)
    assert sum(row["inserted"] for row in books.rows(batches)) == 17
    assert delivered(books, *payloads).count(DUPLICATE) == 17


def test_a_fault_of_the_store_is_raised_and_leaves_nothing(books: Books) -> None:
    books.fail(calls)
    with pytest.raises(OperationalError, match="disk_full"):
        books.deliver(made())
    assert books.rows(calls) == books.rows(batches) == books.rows(sources) == []
    books.mend(calls)
    assert books.deliver(made()) == [INSERTED]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    books = Books(tmp_path)
    with books.engine.connect() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar()
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    some = [made(number=number, user="u" * 500) for number in range(100)]
    with pytest.raises(OperationalError, match="full"):
        books.deliver(*some)
    assert books.rows(calls) == books.rows(batches) == books.rows(sources) == []
    books.engine.dispose()
    assert books.deliver(*some) == [INSERTED] * 100
    books.close()


def test_rates_that_cannot_be_read_leave_calls_unpriced_and_flagged(books: Books) -> None:
    with writing(books.engine) as conn:
        conn.exec_driver_sql("UPDATE rates SET input_per_1k = 'NaN'")
    assert books.deliver(made(usage=used(1, 1)._replace(anomalies=("total_mismatch",)))) == [INSERTED]
    row = only(books.rows(calls))
    assert (row["rate_id"], row["anomalies"]) == (0, ["total_mismatch", "stamping_failed"])


HOURS = """
provider = "p"
currency = "USD"
source = "list"
""" + "".join(
    f'[[rate]]\nmodel = "{model}"\nvalid_from = {since}\ninput = 1\noutput = 2\n{hours}\n'
    for model, since, hours in (
        ("other", "2026-01-01", ""),
        ("m", "2026-01-01", ""),
        ("m", "2026-11-01", 'hours = "00:00-08:00 UTC"'),
    )
)


def test_a_zone_that_this_host_does_not_know_is_in_the_way_of_no_call_that_its_line_is_not_for(books: Books) -> None:
    books.load(HOURS)
    with writing(books.engine) as conn:
        conn.execute(sa.update(rates).where(rates.c.hours != "").values(hours="00:00-08:00 America/Coyhaique2"))
    known = {row["model"]: row["id"] for row in books.rows(rates) if not row["hours"]}
    before = at("2026-10-01")
    books.deliver(
        made(provider="p", request_model="m"),
        made(before, 2, provider="p", request_model="m"),
        made(number=3, provider="p", request_model="other"),
        made(number=4),
    )
    found = {row["id"].int % 2**16: (row["rate_id"], row["anomalies"]) for row in books.rows(calls)}
    assert found == {
        1: (0, ["stamping_failed"]),
        2: (known["m"], []),
        3: (known["other"], []),
        4: (known["z-ai/glm-5"], []),
    }


def test_an_outcome_may_be_any_but_must_be_one(books: Books) -> None:
    books.deliver(*(made(number=number, outcome=outcome) for number, outcome in enumerate(Outcome)))
    assert [row["outcome"] for row in books.rows(calls)] == list(Outcome)


def test_a_heartbeat_writes_no_batch(books: Books) -> None:
    books.deliver(now=NOON, still_open=2)
    assert books.rows(batches) == []
    source = only(books.rows(sources))
    assert (source["highest"], source["open"], source["seen_at"]) == (2, 2, NOON)


def test_batches_know_their_calls(books: Books) -> None:
    some = [made(number=number) for number in (3, 1, 2)]
    books.deliver(*some)
    batch = only(books.rows(batches))
    assert (batch["min_call_id"], batch["max_call_id"]) == (some[1].id, some[0].id)
    assert (batch["received_at"], batch["rolled_at"]) == (NOON, None)
    assert {row["batch_id"] for row in books.rows(calls)} == {batch["id"]}


@pytest.fixture
def url(database: Database) -> str:
    """Where nobody has made a store yet."""
    return database.empty()


@pytest.fixture
def destination(url: str) -> Iterator[StoreDestination]:
    destination = open_destination(url)
    assert isinstance(destination, StoreDestination)
    yield destination
    destination.close()


def test_the_first_delivery_makes_the_store_in_the_zone_that_is_set(
    destination: StoreDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_ZONE", "Asia/Shanghai")
    assert destination.deliver(Journal().batch(made())).verdicts == {1: INSERTED}
    with reading(destination._engine) as conn:
        assert conn.execute(sa.select(store_table.c.zone)).scalar() == "Asia/Shanghai"
        assert conn.execute(sa.select(calls.c.rate_id)).scalar() != 0


def test_a_file_left_empty_is_made_a_store(tmp_path: Path) -> None:
    file = tmp_path / "books.sqlite3"
    file.touch()
    destination = open_destination(sqlite_url(file))
    assert destination.deliver(Journal().batch(made())).verdicts == {1: INSERTED}
    destination.close()


def test_a_store_that_goes_away_is_not_replaced_by_an_empty_one(
    url: str, destination: StoreDestination, database: Database
) -> None:
    journal = Journal()
    destination.deliver(journal.batch(made(number=1)))
    with database.without(url):
        with pytest.raises(StoreMissing):
            destination.deliver(journal.batch(made(number=2)))
        assert not has_tables(url)
    assert destination.deliver(journal.batch(made(number=2))).verdicts == {2: INSERTED}


def has_tables(url: str) -> bool:
    engine = open_engine(url)
    try:
        with reading(engine) as conn:
            return bool(sa.inspect(conn).get_table_names())
    except StoreMissing:
        return False
    finally:
        engine.dispose()


def test_a_journal_that_delivered_before_does_not_begin_a_store(
    url: str, destination: StoreDestination, database: Database
) -> None:
    """A process that starts while the store is away: its calls would be in other books than the rest."""
    journal = Journal()
    destination.deliver(journal.batch(made(number=1)))
    heir = open_destination(url)
    with database.without(url):
        with pytest.raises(StoreMissing, match="accounting store create"):
            heir.deliver(journal.batch(made(number=2), still_open=1))
        assert not has_tables(url)
    assert heir.deliver(journal.batch(made(number=2))).verdicts == {2: INSERTED}
    heir.close()


def test_delivery_into_a_store_of_another_schema_waits_for_a_person(destination: StoreDestination) -> None:
    journal = Journal()
    destination.deliver(journal.batch(made(number=1)))
    with writing(destination._engine) as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch):
        destination.deliver(journal.batch(made(number=2)))


def test_deliveries_that_begin_a_store_at_once_lose_nothing(url: str) -> None:
    def deliver(name: str, first: int) -> None:
        mine, journal = open_destination(url), Journal(name)
        for number in range(5):
            mine.deliver(journal.batch(made(number=first + number)))
        mine.close()

    threads = [threading.Thread(target=deliver, args=(f"journal {n}", n * 10)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    books = Books(url)
    assert len(books.rows(calls)) == 20
    assert [row["contiguous"] for row in books.rows(sources)] == [5] * 4
    assert books.rows(received_ahead) == []
    books.close()


def test_a_batch_under_way_while_the_schema_changes_is_not_put_aside_for_its_contents(books: Books) -> None:
    """The new program wants to know of each call what the old one can't tell."""
    batch = books.journal.batch(made())
    new = "ALTER TABLE calls ADD COLUMN later TEXT NOT NULL DEFAULT 'unknown' CHECK (later <> 'unknown')"
    with ThreadPoolExecutor() as pool:
        with altering(books.engine) as conn:
            stored = pool.submit(ingest, books.engine, batch, NOON)
            time.sleep(0.1)
            conn.exec_driver_sql(new)
            conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(SchemaMismatch, match="9999"):
            stored.result()
    assert books.rows(rejected) == []
