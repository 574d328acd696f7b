"""A store in a PostgreSQL database: what goes wrong between it and us, and what others may do meanwhile."""

import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, OperationalError

from accounting.errors import ConfigurationError, StoreAway, StoreError, StoreMissing
from accounting.store import Lock, altering, hold, open_engine, postgres, reading, schema, transact, writing
from accounting.store import engine as engines
from tests.books import NOON
from tests.databases import PostgresDatabases
from tests.store import tally
from tests.store.tally import add, amounts, run, sums


@pytest.fixture
def url(postgresql: PostgresDatabases) -> str:
    return postgresql.empty()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = tally.made(url)
    yield engine
    engine.dispose()


def entered(url: str) -> None:
    engine = open_engine(url)
    try:
        with writing(engine):
            pass
    finally:
        engine.dispose()


@pytest.fixture
def locked(postgresql: PostgresDatabases) -> Iterator[str]:
    """A user who needs a password, which is right."""
    server = postgresql.server
    server.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    with server.letting_in("locked", "scram-sha-256"):
        yield "locked"
    server.execute("DROP ROLE locked")


def test_without_the_driver_it_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'llm-accounting\[postgres\]'"):
        open_engine("postgresql://host/books")


def test_a_server_that_refuses_is_away(url: str, postgresql: PostgresDatabases) -> None:
    with pytest.raises(StoreAway, match=r"can't be reached.*Connection refused.*Check that the server runs"):
        entered(url.replace(str(postgresql.server.port), "1"))


def test_a_server_that_never_answers_is_away_after_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        with pytest.raises(StoreAway, match="timeout"):
            entered(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/books?connect_timeout=2")
        assert time.monotonic() - before < 8


def test_a_database_that_is_not_there_is_to_be_made(postgresql: PostgresDatabases) -> None:
    with pytest.raises(StoreMissing, match=r"no database at postgresql://127.0.0.1:[0-9]+/nowhere.*createdb"):
        entered(postgresql.server.url("nowhere"))


def test_a_wrong_password_is_told_and_not_shown(url: str, locked: str) -> None:
    entered(url.replace("postgres@", f"{locked}:right@"))
    with pytest.raises(StoreAway, match=rf"password authentication failed.*, user \({locked}\) and") as caught:
        entered(url.replace("postgres@", f"{locked}:hush@"))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("password", ["hush@hush", "hush@hu/sh", "hush@hu/hush@sh"])
def test_a_password_with_an_at_sign_that_was_not_escaped_is_told_and_not_shown(password: str) -> None:
    with pytest.raises(ConfigurationError, match="write %40") as caught:
        open_engine(f"postgresql://me:{password}@host/books")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("option", ["foo=hush", "sslmode=require&Host=hush", "prepare_threshold=5"])
def test_an_option_that_nobody_knows_is_no_outage(option: str) -> None:
    name = option.rpartition("&")[2].partition("=")[0]
    with pytest.raises(ConfigurationError, match=f"option '{name}', which") as caught:
        open_engine(f"postgresql://host/books?{option}")
    assert "hush" not in str(caught.value)


def test_a_user_who_may_not_write_hears_what_was_refused(engine: Engine, url: str, locked: str) -> None:
    theirs = open_engine(url.replace("postgres@", f"{locked}:right@"))
    with pytest.raises(StoreError, match=rf"user \({locked}\) of.* may not do this.*permission denied for table sums"):
        add(theirs, "mine", "1")
    theirs.dispose()


def test_a_server_that_takes_no_writes_is_told_from_a_fault_of_ours(engine: Engine) -> None:
    def write(conn: Connection) -> None:
        conn.exec_driver_sql("SET LOCAL transaction_read_only = on")
        conn.execute(sums.insert().values(name="on a standby"))

    with pytest.raises(StoreAway, match="takes no writes now"):
        transact(engine, write)


def test_a_connection_that_is_lost_is_told_and_the_next_one_is_new(engine: Engine) -> None:
    def write(conn: Connection) -> None:
        conn.execute(sums.insert().values(name="half"))
        _terminate(engine, conn)
        conn.execute(sums.insert().values(name="other half"))

    with pytest.raises(StoreAway, match=r"was lost.*Do the same again"):
        transact(engine, write)
    add(engine, "next", "1")
    assert set(amounts(engine)) == {"next"}


def test_connections_that_died_while_nobody_used_them_are_not_noticed(
    engine: Engine, postgresql: PostgresDatabases
) -> None:
    add(engine, "before", "1")
    assert amounts(engine)
    for how in ("fast", "immediate"):
        postgresql.server.stop(how)
        postgresql.server.start()
        add(engine, how, "1")
        assert how in amounts(engine)


def _terminate(engine: Engine, conn: Connection) -> None:
    pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    with reading(engine) as other:
        other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")


def test_of_two_that_wait_for_each_other_one_begins_anew(engine: Engine) -> None:
    for name in ("one", "two"):
        add(engine, name, "1")
    both = threading.Barrier(2)
    begun: list[str] = []

    def raise_(first: str, second: str) -> None:
        def work(conn: Connection) -> None:
            begun.append(first)
            conn.execute(sa.update(sums).where(sums.c.name == first).values(size=sums.c.size + 1))
            if len(begun) <= 2:
                both.wait()
            conn.execute(sa.update(sums).where(sums.c.name == second).values(size=sums.c.size + 1))

        transact(engine, work)

    threads = [threading.Thread(target=raise_, args=names) for names in (("one", "two"), ("two", "one"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 3
    with reading(engine) as conn:
        assert conn.execute(sa.select(sums.c.size)).scalars().all() == [2, 2]


def test_a_transaction_that_always_loses_gives_up_in_the_end(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_PAUSE_SECONDS", 0)
    tries: list[None] = []

    def lose(conn: Connection) -> None:
        tries.append(None)
        conn.exec_driver_sql("DO $$ BEGIN RAISE 'lost' USING ERRCODE = '40001'; END $$")

    with pytest.raises(OperationalError, match="lost"):
        transact(engine, lose)
    assert len(tries) == engines.TRIES


def test_reports_that_take_all_their_connections_keep_no_writer_waiting(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_POOL", {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1})
    few = open_engine(url)
    with reading(few), writing(few):
        for enter in (reading, writing):
            with pytest.raises(StoreAway, match="in use"), enter(few):
                pass
    few.dispose()


def test_one_thread_that_reads_and_writes_in_turn_needs_one_connection(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_POOL", {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1})
    alone = open_engine(url, apart=False)
    for _ in range(2):
        add(alone, "sum", "1")
        with reading(alone), pytest.raises(StoreAway, match="in use"), writing(alone):
            pass
    assert list(amounts(alone)) == ["sum"]
    alone.dispose()


def test_a_reader_s_snapshot_ends_with_its_block(engine: Engine) -> None:
    """Whatever a connection was used for before: what it is to the server is said with each transaction."""
    alone = open_engine(engine.url.render_as_string(), apart=False)
    assert amounts(alone) == {}
    with writing(alone) as conn:
        assert conn.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    with reading(alone) as conn:
        assert conn.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"
    alone.dispose()


def test_a_lock_is_held_to_the_end_of_the_transaction_and_by_all_who_share_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.1)
    with writing(engine) as one:
        hold(one, Lock.ROLLUP, shared=True)
        with writing(engine) as other:
            hold(other, Lock.ROLLUP, shared=True)
            hold(other, Lock.INGEST)
        with pytest.raises(StoreError, match="held by others"), writing(engine) as other:
            hold(other, Lock.ROLLUP)
    with writing(engine) as other:
        hold(other, Lock.ROLLUP)


def test_a_change_of_the_schema_waits_for_those_who_write_and_they_for_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.1)
    for first, second in ((writing, altering), (altering, writing)):
        with first(engine), pytest.raises(StoreError, match="held by others"), second(engine):
            pass
    with writing(engine), writing(engine):
        pass


def test_a_stuck_process_loses_its_transaction_in_the_end(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "IDLE_SECONDS", 0.1)

    def write(conn: Connection) -> None:
        conn.execute(sums.insert().values(name="stuck"))
        time.sleep(0.5)
        conn.execute(sums.insert().values(name="still stuck"))

    with pytest.raises(StoreAway, match="was lost"):
        transact(engine, write)
    assert amounts(engine) == {}


def test_a_fault_in_copying_rows_in_is_like_that_of_a_statement(engine: Engine) -> None:
    def copy_in(conn: Connection) -> None:
        with conn.connection.cursor().copy("COPY sums (name, size) FROM STDIN") as copy:
            copy.write_row(("secret", "many"))

    with pytest.raises(DataError) as caught:
        transact(engine, copy_in)
    assert "secret" not in str(caught.value)
    add(engine, "next", "1")


def test_a_connection_that_is_lost_while_rows_are_copied_in_is_told(engine: Engine) -> None:
    def copy_in(conn: Connection) -> None:
        pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with conn.connection.cursor().copy("COPY sums (name, size) FROM STDIN") as copy:
            with reading(engine) as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
            copy.write_row(("half", 1))

    with pytest.raises(StoreAway, match="was lost"):
        transact(engine, copy_in)
    add(engine, "next", "1")


def test_a_database_that_can_t_hold_every_text_is_refused(postgresql: PostgresDatabases) -> None:
    url = postgresql.empty("template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    engine = open_engine(url)
    with pytest.raises(StoreError, match=r"encoding SQL_ASCII; expected UTF8.*createdb --encoding=UTF8"):
        schema.create(engine, "UTC", NOON)
    engine.dispose()


def test_times_are_told_in_utc_whatever_the_zone_of_the_server_is(engine: Engine) -> None:
    for connected in (reading, writing):
        with connected(engine) as conn:
            assert conn.exec_driver_sql("SHOW timezone").scalar() == "UTC"
            servers = conn.exec_driver_sql("SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'")
            assert servers.scalar() == "Asia/Shanghai"


@pytest.mark.parametrize("script", ["add(engine, 'child', '1')", "amounts(engine)"])
def test_a_child_that_ends_leaves_its_parent_s_connections_open(engine: Engine, url: str, script: str) -> None:
    with run(
        "import warnings; warnings.simplefilter('ignore')\n"
        "add(engine, 'parent', '1'); amounts(engine)\n"
        "child = os.fork()\n"
        f"if not child: {script}; engine.dispose(); sys.exit()\n"
        "if os.waitpid(child, 0)[1]: sys.exit('the child failed')\n"
        "connection = engine.raw_connection(); connection.cursor().execute('SELECT 1')\n",
        url,
    ) as process:
        assert process.wait(60) == 0
