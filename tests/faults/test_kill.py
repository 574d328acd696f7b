"""L1 and L2 under `kill -9`: what a program received whole is in the books, once, wherever it was killed."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from accounting.places import sqlite_url
from accounting.simulator import Simulator
from tests.faults.life import SECONDS, Books, Life, Spot, assert_all_is_in, assert_nothing_is_lost_or_doubled
from tests.warehouse import until


def at_exit(function: str, when: str) -> Spot:
    return Spot(function, when, moment="--kill-at-exit")


def heir(function: str, when: str, turn: int = 1) -> Spot:
    """In a process that only delivers what others left behind."""
    return Spot(function, when, turn, colours=("deliver",))


MAKING_THE_STORE = (
    Spot("accounting.store.schema:prepare", "leaving", colours=("threads",)),
    Spot("accounting.store.ratelines:append", "leaving", colours=("tasks",)),
)
PHASES = {
    "before send": (
        Spot("accounting.journal:Journal.start", "entering", 15),
        Spot("accounting.journal:Journal.start", "leaving", 15),
    ),
    "headers in": (Spot("accounting.capture:Tap.headers", "entering", 15),),
    "mid-stream": (Spot("accounting.capture:Tap.read", "leaving", 70),),
    "last byte in, not passed on": (
        Spot("accounting.journal:Journal.finish", "entering", 15),
        Spot("accounting.journal:Journal.finish", "leaving", 15),
    ),
    "answer whole": (Spot("__main__:note", "leaving", 15),),
    "in delivery, before the store": (Spot("accounting.ingest:StoreDestination.deliver", "entering", 3),),
    "in ingest, in the transaction": (
        Spot("accounting.store.bulk:insert_calls", "leaving", 2),
        Spot("accounting.sources:take_in", "leaving", 3),
    ),
    "after the commit, before the journal lets go": (
        Spot("accounting.store.sqlite:_checkpoint_when_due", "entering", 3),
        Spot("accounting.journal:Journal.delivered", "entering", 3),
    ),
    "after the journal let go": (Spot("accounting.journal:Journal.delivered", "leaving", 3),),
    "at exit": (
        at_exit("accounting.recorder:Recorder.close", "entering"),
        at_exit("accounting.sources:take_in", "leaving"),
        at_exit("accounting.journal:Journal.delivered", "entering"),
        at_exit("accounting.journal:Journal.close", "entering"),
    ),
}
TAKING_OVER = (
    Spot("accounting.journal:Journal.abandon", "leaving", 2, colours=("threads",)),
    heir("accounting.journal:Journal.abandon", "leaving", 1),
    heir("accounting.ingest:enter", "leaving"),
    heir("accounting.journal:Journal.delivered", "entering"),
)
AT_RANDOM = 6


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A file that nobody has made yet."""
    return tmp_path / "store" / "books.sqlite3"


@pytest.fixture
def life(tmp_path: Path, store: Path) -> Iterator[Life]:
    with Simulator() as provider:
        life = Life(tmp_path, provider, sqlite_url(store))
        yield life
        life.end()


@contextmanager
def store_away(store: Path) -> Iterator[None]:
    """Take the store away under a program that is delivering to it, as if its disk were not mounted."""
    before = _delivered(store)
    assert until(lambda: _delivered(store) > before, SECONDS)
    aside = store.parent.with_name("aside")
    store.parent.rename(aside)
    yield
    aside.rename(store.parent)


def _delivered(store: Path) -> int:
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])


def test_every_answer_received_whole_is_in_the_books_once_wherever_the_program_is_killed(
    life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    for spot in MAKING_THE_STORE:
        life.die_at("making the store", spot)
    for phase, spots in PHASES.items():
        for spot in spots:
            life.die_at(phase, spot)
    for colour in ("threads", "tasks"):
        life.die_held("mid-stream", colour, "stall=50%")
        life.die_held("sent, no headers", colour, "wait=60")
    for spot in TAKING_OVER:
        life.die_at("taking over", spot)
    chance = random.Random(20261123)
    for number in range(AT_RANDOM):
        life.die_after("at random", ("threads", "tasks")[number % 2], chance.uniform(0, 0.5))
    life.accounting("deliver")

    books = assert_nothing_is_lost_or_doubled(life)
    assert_all_is_in(books)
    assert all(not source.faults for source in books.sources)
    assert life.kills.total() >= 20
    with capsys.disabled():
        print(f"\n{_told(life.kills, books, len(life.answered))}")


def _row(cells: Iterable[object]) -> str:
    return "".join(f"{cell!s:>9}" for cell in cells)


def _told(kills: Counter[tuple[str, str]], books: Books, answered: int) -> str:
    """The kills by phase and kind of program, and what the books make of the calls."""
    colours = ("threads", "tasks", "deliver")
    phases = dict.fromkeys(phase for phase, _ in kills)
    rows = [f"{phase:46}{_row(kills[phase, colour] for colour in colours)}" for phase in phases]
    outcomes = Counter(call["outcome"] for calls in books.calls.values() for call in calls)
    ended = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.most_common())
    sums = f"{kills.total()} kills; {answered} answers received whole; {outcomes.total()} calls: {ended}"
    return "\n".join([f"{'killed':46}{_row(colours)}", *rows, sums])


def test_calls_made_while_the_store_is_away_are_in_the_books_once_it_is_back(life: Life, store: Path) -> None:
    assert life.begin("tasks").wait(SECONDS) == 0
    program = life.begin("threads", "--calls", "200")
    with store_away(store):
        life.more_answers(200)
    assert program.wait(SECONDS) == 0
    program = life.begin("tasks", "--calls", "100000")
    with store_away(store):
        life.more_answers(100)
        program.kill()
        life.dies("while the store is away", "tasks", program)
        # Who takes over now knows of the store from the journal alone, and must not make an empty one in its place.
        _, err = life.begin("deliver").communicate(timeout=SECONDS)
        assert "StoreMissing: " in err
    life.accounting("deliver")

    books = assert_nothing_is_lost_or_doubled(life)
    assert_all_is_in(books)
    # The store may go between a delivery and the question for what it has learned, too.
    assert {step for source in books.sources for step in source.faults} - {"estimates"} == {"deliver"}
