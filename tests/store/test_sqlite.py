"""A store in a SQLite file."""

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from accounting.errors import ConfigurationError, StoreMissing
from accounting.places import sqlite_url
from accounting.store import file_of, open_engine, prepare, reading, sqlite, writing
from tests.store import tally
from tests.store.tally import add, amounts, sums


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = tally.made(sqlite_url(tmp_path / "a new folder" / "100% ours.sqlite3"))
    yield engine
    engine.dispose()


def log_of(engine: Engine) -> Path:
    return Path(f"{file_of(engine)}-wal")


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


def test_a_file_that_is_replaced_while_it_is_opened_is_opened_anew(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the old file would be read with the new one's log, as SQLite opens that later."""
    add(engine, "before", "1")
    backup = tmp_path / "backup.sqlite3"
    with closing(engine.raw_connection()) as raw:
        raw.cursor().execute(f"VACUUM INTO '{backup}'")
    add(engine, "after", "1")
    engine.dispose()
    opened, turns = sqlite._opened, iter(range(10))

    def be_late(file: Path) -> sqlite3.Connection:
        connection = opened(file)
        if next(turns) == 0:
            with sqlite.alone(engine):
                sqlite.replace(engine, backup, aside=None)
        return connection

    monkeypatch.setattr(sqlite, "_opened", be_late)
    assert set(amounts(engine)) == {"before"}
    assert next(turns) == 2


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's")
def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    engine = open_engine(sqlite_url(tmp_path / "file" / "books.sqlite3"))
    with pytest.raises(ConfigurationError, match="write access"):
        prepare(engine)


def test_a_link_and_its_file_are_one_store(engine: Engine, tmp_path: Path) -> None:
    link = tmp_path / "link.sqlite3"
    link.symlink_to(file_of(engine))
    linked = open_engine(sqlite_url(link))
    assert file_of(linked) == file_of(engine)
