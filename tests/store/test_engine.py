"""The way into a SQLite store that several processes share."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from accounting.errors import ConfigurationError, StoreError, StoreMissing
from accounting.places import sqlite_url
from accounting.store import exact_sum, file_of, insert, open_engine, prepare, reading, sqlite, writing
from accounting.store.types import Exact

metadata = sa.MetaData()
sums = sa.Table(
    "sums",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("amount", Exact),
    sa.Column("size", sa.BigInteger, nullable=False, server_default="0"),
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(sqlite_url(tmp_path / "a new folder" / "100% ours.sqlite3"))
    prepare(engine)
    with writing(engine) as conn:
        metadata.create_all(conn)
    yield engine
    engine.dispose()


def add(engine: Engine, name: str, amount: str | None) -> None:
    with writing(engine) as conn:
        new = insert(conn, sums)
        added = {"amount": exact_sum(sums.c.amount, new.excluded.amount)}
        value = None if amount is None else Decimal(amount)
        conn.execute(new.on_conflict_do_update(index_elements=["name"], set_=added), {"name": name, "amount": value})


def amounts(engine: Engine) -> dict[str, Decimal | None]:
    with reading(engine) as conn:
        return {row.name: row.amount for row in conn.execute(sa.select(sums))}


def log_of(engine: Engine) -> Path:
    return Path(f"{file_of(engine)}-wal")


def run(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """Another process that works on the same table."""
    prelude = "import os, sys, time\nfrom tests.store.test_engine import *\nengine = open_engine(sys.argv[1])\n"
    return subprocess.Popen([sys.executable, "-c", prelude + script, *map(str, arguments)], stdout=-1, text=True)


def test_a_block_that_raises_leaves_nothing(engine: Engine) -> None:
    with suppress(ZeroDivisionError), writing(engine) as conn:
        conn.execute(sums.insert().values(name="gone"))
        raise ZeroDivisionError
    assert amounts(engine) == {}


def test_amounts_add_up_to_the_last_digit(engine: Engine) -> None:
    for amount in ("0.1", "0.2", "1000000000000000000000", "0.000000000001", None, "-0.3"):
        add(engine, "sum", amount)
    assert amounts(engine) == {"sum": Decimal("1000000000000000000000.000000000001")}


def test_nothing_and_nothing_stay_nothing(engine: Engine) -> None:
    add(engine, "unpriced", None)
    add(engine, "unpriced", None)
    add(engine, "free", None)
    add(engine, "free", "0")
    assert amounts(engine) == {"unpriced": None, "free": Decimal(0)}


def test_reading_refuses_to_write(engine: Engine) -> None:
    with pytest.raises(OperationalError, match="readonly"), reading(engine) as conn:
        conn.execute(sums.insert().values(name="past the lock"))


def test_reading_sees_one_moment(engine: Engine) -> None:
    with reading(engine) as conn:
        count = sa.select(sa.func.count()).select_from(sums)
        before = conn.execute(count).scalar()
        add(engine, "later", "1")
        assert conn.execute(count).scalar() == before == 0


def test_a_missing_file_is_named_and_not_made(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "none.sqlite3"))
    for enter in (reading, writing):
        with pytest.raises(StoreMissing, match="none"), enter(engine):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_only_the_owner_can_read_the_store(engine: Engine) -> None:
    add(engine, "any", "1")
    folder = file_of(engine).parent
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_commit_is_on_the_disk_and_only_writing_checkpoints(engine: Engine) -> None:
    names = ("journal_mode", "synchronous", "wal_autocheckpoint", "mmap_size", "foreign_keys")
    with reading(engine) as conn:
        found = {name: conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "wal_autocheckpoint": 0,
        "mmap_size": 0,
        "foreign_keys": 1,
    }


def test_a_long_log_is_copied_into_the_file(engine: Engine) -> None:
    fill(engine)
    assert log_of(engine).stat().st_size == 0


def test_a_reader_delays_the_copying_but_not_the_writers(engine: Engine) -> None:
    with reading(engine) as conn:
        conn.execute(sa.select(sums)).all()
        started = time.monotonic()
        fill(engine)
        assert time.monotonic() - started < 5
        assert log_of(engine).stat().st_size > 0
    add(engine, "next", "1")
    assert log_of(engine).stat().st_size == 0


def fill(engine: Engine) -> None:
    with writing(engine) as conn:
        conn.exec_driver_sql("INSERT INTO sums (name) VALUES (hex(zeroblob(4000000)))")


def test_processes_that_write_at_once_lose_nothing(engine: Engine) -> None:
    script = "for n in range(50): add(engine, 'sum', '0.000000000001')"
    with run(script, engine.url) as one, run(script, engine.url) as two, run(script, engine.url) as three:
        assert [writer.wait(60) for writer in (one, two, three)] == [0, 0, 0]
    assert amounts(engine) == {"sum": Decimal("0.000000000150")}


def test_a_writer_that_is_killed_leaves_nothing_and_holds_nobody_up(engine: Engine) -> None:
    script = (
        "with writing(engine) as conn:\n"
        "    conn.execute(sums.insert().values(name='half'))\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with run(script, engine.url) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.kill()
    add(engine, "whole", "1")
    assert amounts(engine) == {"whole": Decimal(1)}


def test_waiting_for_a_writer_that_never_ends_is_an_error(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOCK_SECONDS", 0.1)
    with run("with writing(engine): print('in', flush=True); time.sleep(60)", engine.url) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(StoreError, match="held by others"), writing(engine):
            pass
        writer.kill()


def test_a_file_that_was_replaced_is_written_to_under_its_name(engine: Engine, tmp_path: Path) -> None:
    add(engine, "before", "1")
    backup = tmp_path / "backup.sqlite3"
    with closing(engine.raw_connection()) as raw:
        raw.cursor().execute(f"VACUUM INTO '{backup}'")
    add(engine, "after", "1")
    for left in (log_of(engine), Path(f"{file_of(engine)}-shm")):
        left.unlink()
    backup.replace(file_of(engine))
    add(engine, "restored", "1")
    assert set(amounts(engine)) == {"before", "restored"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_through_connections_of_its_own(engine: Engine) -> None:
    script = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "add(engine, 'parent', '1')\n"
        "child = os.fork()\n"
        "add(engine, 'parent' if child else 'child', '1')\n"
        "if child and os.waitpid(child, 0)[1]: sys.exit('the child failed')\n"
    )
    with run(script, engine.url) as process:
        assert process.wait(60) == 0
    assert amounts(engine) == {"parent": Decimal(2), "child": Decimal(1)}


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's")
def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    engine = open_engine(sqlite_url(tmp_path / "file" / "books.sqlite3"))
    with pytest.raises(ConfigurationError, match="write access"):
        prepare(engine)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://localhost/books", "begins with 'mysql'"),
        ("postgresql+asyncpg://localhost/books", "begins with 'postgresql.asyncpg'"),
        ("sqlite://", "path of a file"),
        ("sqlite:///:memory:", "path of a file"),
        ("sqlite:////tmp/books.sqlite3?mode=ro", "no options"),
        ("sqlite:///file:books?uri=true", "path of a file"),
        ("books.sqlite3", "is no URL"),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_engine(url)


def test_a_link_and_its_file_are_one_store(engine: Engine, tmp_path: Path) -> None:
    link = tmp_path / "link.sqlite3"
    link.symlink_to(file_of(engine))
    linked = open_engine(sqlite_url(link))
    assert file_of(linked) == file_of(engine)


def test_values_stay_out_of_errors(engine: Engine) -> None:
    add(engine, "secret", "1")
    with pytest.raises(sa.exc.IntegrityError) as caught, writing(engine) as conn:
        conn.execute(sums.insert().values(name="secret"))
    assert "secret" not in str(caught.value)
