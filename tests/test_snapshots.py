import os
import stat
import time
from pathlib import Path

import pytest

from accounting import snapshots
from accounting.estimates import NOTHING, Line, Place, Sizes, Snapshot
from accounting.snapshots import FRESH_SECONDS, LOOKED_EVERY, MAX_BYTES, Local, refresh

LEARNED = Snapshot(
    {Place("wcode", "z-ai/glm-5", script="cjk"): Line(10, 250_000)}, {("wcode", "m", "", "*"): Sizes(1, 2)}
)
OTHER = Snapshot({}, {("wcode", "m", "", "*"): Sizes(3, 4)})


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "estimates.json"


def put(file: Path, payload: bytes, age: float = 0.0) -> None:
    """The file as it was written so many seconds ago."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(payload)
    then = time.time() - age
    os.utime(file, (then, then))


def test_what_was_fetched_is_what_capture_knows(file: Path) -> None:
    refresh(file, LEARNED.encode, time.time())
    assert Local(file).snapshot() == LEARNED


def test_only_its_owner_reads_the_file_and_nothing_else_is_left_in_its_folder(file: Path) -> None:
    refresh(file, LEARNED.encode, time.time())
    assert list(file.parent.iterdir()) == [file]
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_processes_of_one_host_fetch_it_once(file: Path) -> None:
    now = time.time()
    refresh(file, LEARNED.encode, now)
    refresh(file, lambda: pytest.fail("fetched again"), now + FRESH_SECONDS / 2)
    refresh(file, OTHER.encode, now + FRESH_SECONDS + 1)
    assert Local(file).snapshot() == OTHER


def test_a_file_from_the_future_is_fetched_anew(file: Path) -> None:
    put(file, LEARNED.encode(), age=-10 * FRESH_SECONDS)
    refresh(file, OTHER.encode, time.time())
    assert Local(file).snapshot() == OTHER


def test_where_nothing_is_learned_yet_no_file_is_written(file: Path) -> None:
    refresh(file, lambda: None, time.time())
    assert not file.exists()
    assert Local(file).snapshot() == NOTHING


def test_a_fetch_that_fails_leaves_what_there_was(file: Path) -> None:
    put(file, LEARNED.encode(), age=2 * FRESH_SECONDS)

    def away() -> bytes:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        refresh(file, away, time.time())
    assert Local(file).snapshot() == LEARNED


def test_the_file_is_looked_at_once_a_minute(file: Path) -> None:
    clock = Clock()
    local = Local(file, clock)
    assert local.snapshot() == NOTHING
    put(file, LEARNED.encode())
    clock.at += LOOKED_EVERY - 1
    assert local.snapshot() == NOTHING
    clock.at += 1
    assert local.snapshot() == LEARNED


def test_a_file_that_did_not_change_is_not_read_again(file: Path) -> None:
    clock = Clock()
    put(file, LEARNED.encode())
    local = Local(file, clock)
    first = local.snapshot()
    clock.at += LOOKED_EVERY
    assert local.snapshot() is first


@pytest.mark.parametrize(
    "payload", [b"", b"{", b'{"version":99,"lines":[],"sizes":[]}', b" " * (MAX_BYTES + 1)], ids=range(4)
)
def test_a_broken_file_is_as_none_until_it_is_mended(file: Path, payload: bytes) -> None:
    clock = Clock()
    put(file, payload)
    local = Local(file, clock)
    assert local.snapshot() == NOTHING
    put(file, LEARNED.encode())
    clock.at += LOOKED_EVERY
    assert local.snapshot() == LEARNED


def test_a_file_that_is_gone_is_forgotten(file: Path) -> None:
    clock = Clock()
    put(file, LEARNED.encode())
    local = Local(file, clock)
    assert local.snapshot() == LEARNED
    file.unlink()
    clock.at += LOOKED_EVERY
    assert local.snapshot() == NOTHING


def test_each_store_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ACCOUNTING_STORE_URL", f"sqlite:///{tmp_path}/production.sqlite3")
    put_at = snapshots.file_of(f"sqlite:///{tmp_path}/production.sqlite3")
    refresh(put_at, LEARNED.encode, time.time())
    assert snapshots.current() == LEARNED
    monkeypatch.setenv("ACCOUNTING_STORE_URL", f"sqlite:///{tmp_path}/staging.sqlite3")
    assert snapshots.current() == NOTHING
