"""A SQLite store on a network file system is refused."""

from pathlib import Path

import pytest

from accounting.errors import ConfigurationError
from accounting.places import sqlite_url
from accounting.store import mounts, open_engine, prepare, reading, writing
from accounting.store.mounts import file_system
from tests.store import tally

TABLE = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
31 22 0:45 / /home rw,relatime shared:7 master:2 - nfs4 files:/home rw,vers=4.2
32 31 254:1 / /home/ann/local rw - xfs /dev/vdb rw
33 22 0:46 / /mnt/team\040books rw - cifs //files/books rw
34 22 0:47 / /mnt/far rw - fuse.sshfs ann@far:/ rw
35 22 0:48 / /srv rw - nfs files:/srv rw
36 22 254:3 / /srv rw - ext4 /dev/vdc rw
"""


@pytest.mark.parametrize(("file", "kind"), [
    ("/var/lib/books.sqlite3", "ext4"),
    ("/home/ann/books.sqlite3", "nfs4"),
    ("/homes/books.sqlite3", "ext4"),
    ("/home/ann/local/books.sqlite3", "xfs"),
    ("/mnt/team books/books.sqlite3", "cifs"),
    ("/mnt/far/books.sqlite3", "fuse.sshfs"),
    ("/srv/books.sqlite3", "ext4"),
])  # fmt: skip
def test_a_file_is_on_the_innermost_mount_that_holds_it(file: str, kind: str) -> None:
    assert file_system(Path(file), TABLE) == kind


def test_without_a_table_nothing_is_known() -> None:
    assert file_system(Path("/home/ann/books.sqlite3"), "") is None


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that others mount, too."""
    table = tmp_path / "mountinfo"
    place = str(tmp_path / "home").replace(" ", r"\040")
    table.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {place} rw - nfs4 files:/home rw\n")
    monkeypatch.setattr(mounts, "TABLE", table)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_no_store_is_made_on_a_network_file_system(home: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"network file system \(nfs4\).*local disk.*postgresql\+psycopg://"):
        prepare(open_engine(sqlite_url(home / "books.sqlite3")))
    assert list(home.iterdir()) == []


def test_a_store_that_was_made_on_one_is_not_used(home: Path) -> None:
    tally.made(sqlite_url(home.parent / "books.sqlite3")).dispose()
    (home.parent / "books.sqlite3").rename(home / "books.sqlite3")
    engine = open_engine(sqlite_url(home / "books.sqlite3"))
    for enter in (reading, writing):
        with pytest.raises(ConfigurationError, match="network file system"), enter(engine):
            pass


def test_where_no_table_is_kept_the_store_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "TABLE", Path("/nowhere"))
    tally.made(sqlite_url(home / "books.sqlite3")).dispose()
