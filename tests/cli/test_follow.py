"""`accounting calls --follow`, as a process that is read while others write."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from queue import Queue
from typing import Any

import pytest

from tests.books import NOON, Books, made
from tests.conftest import NewBooks
from tests.databases import PostgresDatabases

# A shell may have its background programs ignore Ctrl-C, and whatever they start.
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom accounting.cli import main; main()"
)
SECONDS = 30

# Interrupted where an exception can go nowhere, as happens in the callbacks of a database's connections.
UNHEARD = """
import os, signal
from accounting import booked

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

def newly_booked(*given, read=booked.newly_booked, **named):
    Last()
    return read(*given, **named)

booked.newly_booked = newly_booked
"""


class Follower:
    def __init__(self, books: Books, *options: str, program: str = PROGRAM) -> None:
        environment = {**os.environ, "ACCOUNTING_STORE_URL": books.url}
        command = [sys.executable, "-c", program, "calls", "--follow", *options]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=environment, **pipes)
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line.rstrip("\n"))

    def line(self) -> str:
        return self._lines.get(timeout=SECONDS)

    def complaint(self) -> str:
        assert self._process.stderr
        return str(self._process.stderr.readline()).rstrip("\n")

    def stop_reading(self) -> None:
        assert self._process.stdout
        self._process.stdout.close()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def ended(self) -> tuple[int, str]:
        code = self._process.wait(timeout=SECONDS)
        return code, self._process.stderr.read() if self._process.stderr else ""

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()


Follow = Callable[..., Follower]


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    return new_books()


@pytest.fixture
def follow(books: Books) -> Iterator[Follow]:
    started: list[Follower] = []

    def start(*options: str) -> Follower:
        started.append(Follower(books, *options))
        return started[-1]

    yield start
    for follower in started:
        follower.close()


def test_a_follower_begins_with_the_last_calls_and_goes_on_with_new_ones(books: Books, follow: Follow) -> None:
    books.deliver(*(made(NOON - timedelta(minutes=9 - number), number) for number in range(5)))
    follower = follow("-n", "2")
    assert follower.line().split()[:3] == ["started", "project", "key"]
    assert [follower.line().split()[1] for _ in range(2)] == ["11:54:00", "11:55:00"]
    books.deliver(made(number=9, project="search"))
    new = follower.line().split()
    assert new[:3] == ["2026-11-23", "12:00:00", "search"]
    assert new[-4:-1] == ["0.018", "CNY", "-"]
    follower.interrupt()
    assert follower.ended() == (0, "")


def test_an_interrupt_ends_a_follower_wherever_it_comes(books: Books) -> None:
    with closing(Follower(books, program=UNHEARD + PROGRAM)) as follower:
        assert follower.ended() == (0, "")


def test_json_is_an_object_a_line_each_call_once_in_order_while_others_write(books: Books, follow: Follow) -> None:
    follower = follow("--json", "--project", "checkout")
    some = [made(NOON + timedelta(seconds=number), number) for number in range(40)]
    for number, call in enumerate(some):
        books.deliver(call, made(NOON, 100 + number, project="search"))
    found = [json.loads(follower.line()) for _ in some]
    assert [one["id"] for one in found] == [str(call.id) for call in some]
    assert {one["project"] for one in found} == {"checkout"}
    assert found[0]["cost"] == "0.018"


def test_a_follower_whose_reader_leaves_ends_as_sigpipe_would(books: Books) -> None:
    follower = subprocess.Popen(
        ["bash", "-c", f"{sys.executable} -c '{PROGRAM}' calls -f | head -2; exit ${{PIPESTATUS[0]}}"],
        env={**os.environ, "ACCOUNTING_STORE_URL": books.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    number = 0
    while follower.poll() is None and number < 300:
        books.deliver(made(number=(number := number + 1)))
        threading.Event().wait(0.1)
    out, err = follower.communicate(timeout=SECONDS)
    assert (follower.returncode, err) == (141, "")
    assert len(out.splitlines()) == 2


def test_only_calls_with_the_user_and_all_of_the_tags_are_followed(books: Books, follow: Follow) -> None:
    follower = follow("--json", "--user", "ann", "--tag", "feature=rerank", "-t", "team")
    tags = {"feature": "rerank", "team": "a"}
    books.deliver(made(number=1, user="ann"), made(number=2, tags=tags), made(number=3, user="ann", tags=tags))
    assert json.loads(follower.line())["id"] == str(made(number=3).id)


def test_a_follower_waits_for_a_server_that_went_away_and_goes_on_where_it_was(postgresql: PostgresDatabases) -> None:
    with closing(Books(postgresql.store())) as books, closing(Follower(books, "--json")) as follower:
        books.deliver(made(number=1))
        found = [json.loads(follower.line())["id"]]
        for number in (2, 4):
            books.deliver(made(number=number))
            found.append(json.loads(follower.line())["id"])
            postgresql.server.stop()
            assert "The store is away; this goes on where it was once it is back." in follower.complaint()
            postgresql.server.start()
            books.engine.dispose()
            books.deliver(made(number=number + 1))
            found.append(json.loads(follower.line())["id"])
            assert follower.complaint() == "The store is back."
    assert found == [str(made(number=number).id) for number in range(1, 6)]


@pytest.mark.parametrize("options", [("--csv",), ("--csv-excel",), ("--before", str(made().id))])
def test_a_follower_goes_on_with_new_calls_as_text_or_json(books: Books, follow: Follow, options: tuple[str]) -> None:
    code, said = follow(*options).ended()
    assert code == 2
    assert "leave out --before and --csv" in said
