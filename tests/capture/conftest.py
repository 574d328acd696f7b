"""A journal of the test's own, that nobody delivers, and a server."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from accounting import capture, gate, polls, recorder
from accounting.journal import Standing
from accounting.places import journal_directory, sqlite_url
from accounting.usage import Call
from tests.capture.callers import FLAVOURS, Caller, Flavour
from tests.capture.gates import Budgets
from tests.capture.wire import Server

MakeCaller = Callable[..., Caller]

AWAY_URL = "postgresql+psycopg://books.invalid/books"
"""Of a store that nobody reaches."""


class Undelivered:
    """In place of the delivery thread: what is journaled stays in the journal."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def nudge(self) -> None: ...

    def flush(self, timeout: float) -> bool:
        return True

    def stop(self, timeout: float) -> None: ...


class Journaled:
    """What was written down so far."""

    def calls(self) -> list[Call]:
        """Every call in the order of its start, with its outcome if it has one."""
        books = recorder.recorder()
        books.flush(0)
        journal = books._journal
        if journal is None:
            return []
        with journal.lock:
            rows = journal._connection.execute("SELECT payload FROM calls ORDER BY number").fetchall()
        return [Call.decode(payload) for (payload,) in rows]

    def outcomes(self) -> list[str | None]:
        return [call.outcome for call in self.calls()]

    def only(self) -> Call:
        """The one call there is."""
        (call,) = self.calls()
        return call

    def adopt(self) -> None:
        """What the next owner of the journal does first, once this process is gone."""
        journal = recorder.recorder()._journal
        assert journal is not None
        journal.abandon_open()

    def standing(self, delivering: frozenset[int] = frozenset()) -> Standing:
        journal = recorder.recorder()._journal
        assert journal is not None
        return journal.standing(datetime.now(UTC), delivering)

    def bytes(self) -> bytes:
        """All that lies on the disk."""
        directory = journal_directory(recorder.recorder().url)
        return b"".join(file.read_bytes() for file in sorted(directory.iterdir()))

    def faults(self) -> dict[str, int]:
        return recorder.recorder().faults.counts()


@pytest.fixture(autouse=True)
def journaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journaled]:
    """The journal of this test; a fault of ours that a test does not ask for fails it."""
    recorder.close()
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ACCOUNTING_STORE_URL", sqlite_url(tmp_path / "books.sqlite3"))
    monkeypatch.delenv("ACCOUNTING_PROVIDERS", raising=False)
    monkeypatch.setattr(recorder, "Delivery", Undelivered)
    monkeypatch.setattr(capture, "_declined", set())
    monkeypatch.setattr(polls, "_expected", OrderedDict())
    journaled = Journaled()
    yield journaled
    faults = journaled.faults()
    recorder.close()
    assert faults == {}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(params=FLAVOURS, ids=lambda flavour: f"{'async-' * flavour[1]}{flavour[0]}")
def flavour(request: pytest.FixtureRequest) -> Flavour:
    found: Flavour = request.param
    return found


@pytest.fixture
def make_caller(flavour: Flavour) -> Iterator[MakeCaller]:
    """Makes clients, which are closed in the end; the arguments are the client's own."""
    made: list[Caller] = []

    def make(**arguments: Any) -> Caller:
        made.append(Caller(flavour, **arguments))
        return made[-1]

    yield make
    for caller in made:
        caller.close()


@pytest.fixture
def caller(make_caller: MakeCaller) -> Caller:
    """A metered client."""
    return make_caller().metered(project="checkout")


@pytest.fixture
def budgets(journaled: Journaled, monkeypatch: pytest.MonkeyPatch) -> Iterator[Budgets]:
    """The budgets that this process asks."""
    budgets = Budgets()
    monkeypatch.setenv("ACCOUNTING_STORE_URL", AWAY_URL)
    monkeypatch.setattr(gate, "open_gate", lambda url: budgets)
    monkeypatch.setattr(gate, "REFRESHED_EVERY", 0.02)
    yield budgets
    budgets.go.set()
    end_gate()


def expect_faults(*steps: str) -> None:
    """Take these faults, each of which happened at least once."""
    counts = recorder.recorder().faults._counts
    assert {step for step in steps if counts.pop(step, 0)} == {*steps}


def end_gate() -> None:
    """Have all done that the gate was given."""
    keeper = recorder.recorder().gate
    keeper.end()
    keeper.join(5)
