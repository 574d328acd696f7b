"""Programs that come and go around one store, and what they, the provider and the books say of the same calls."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
import sqlalchemy as sa

from accounting.rollup import roll_all
from accounting.simulated.ledger import FAILED, FINISHED, UNKNOWN, LedgerLine
from accounting.simulator import Simulator
from accounting.sources import Completeness, Source, complete_until, sources
from accounting.store import open_engine, reading, tables
from accounting.verify import verify
from tests.warehouse import until

CHECKOUT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("metered_program.py")
WORKERS = 4  # of the program
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Spot:
    """A function of ours, and whether the program dies entering or leaving it for the n-th time."""

    function: str
    when: str
    turn: int = 1
    colours: tuple[str, ...] = ("threads", "tasks")
    moment: str = "--kill"


@dataclass(frozen=True, slots=True)
class Books:
    """What the store holds in the end; calls by the fingerprint of their keys."""

    calls: Mapping[str, list[Mapping[str, Any]]]
    sources: list[Source]
    complete: Completeness
    kept_aside: int


@dataclass
class Life:
    """One store, one provider, and the programs that come and go on one host or many."""

    directory: Path
    provider: Simulator
    url: str
    programs: list[subprocess.Popen[str]] = field(default_factory=list)
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    names: Iterator[int] = field(default_factory=count)

    @property
    def answered(self) -> list[str]:
        """Fingerprints of the keys whose answers were received whole."""
        log = self.directory / "answers.log"
        keys = log.read_text().split() if log.exists() else []
        return [sha256(key.encode()).hexdigest() for key in keys]

    def begin(self, colour: str, *words: str, host: str = "data") -> subprocess.Popen[str]:
        """A program on its way; each host has journals of its own."""
        name, log = f"program-{next(self.names)}", str(self.directory / "answers.log")
        return self._process(host, str(PROGRAM), self.provider.url, log, name, colour, *words)

    def command(self, *words: str, host: str = "data") -> subprocess.Popen[str]:
        """A command of ours on its way."""
        return self._process(host, "-c", "from accounting.cli import main; main()", *words)

    def accounting(self, *words: str, host: str = "data") -> str:
        """A command of ours, done; what it printed."""
        process = self.command(*words, host=host)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        return out

    def dies(self, phase: str, colour: str, program: subprocess.Popen[str]) -> None:
        """Wait for the program to have been killed."""
        _, err = program.communicate(timeout=SECONDS)
        assert program.returncode == -SIGKILL, f"{phase}, {colour}: it ended with {program.returncode}\n{err}"
        self.kills[phase, colour] += 1

    def die_at(self, phase: str, spot: Spot) -> None:
        """A program for each colour, killed at the spot. Who comes next takes over."""
        for colour in spot.colours:
            program = self.begin(colour, spot.moment, spot.function, spot.when, str(spot.turn))
            self.dies(phase, colour, program)

    def die_held(self, phase: str, colour: str, script: str) -> None:
        """Killed from outside, while the provider holds all of the program's requests back."""
        program = self.begin(colour, "--script", script)
        assert until(lambda: self.provider.held == WORKERS, SECONDS)
        program.kill()
        self.dies(phase, colour, program)
        assert until(lambda: self.provider.held == 0)

    def die_after(self, phase: str, colour: str, seconds: float) -> None:
        """Killed from outside, some time after its first answer."""
        program = self.begin(colour, "--calls", "100000")
        self.more_answers(1)
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(seconds)
        program.kill()
        self.dies(phase, colour, program)

    def more_answers(self, number: int) -> None:
        """Wait until the program that runs has received so many more."""
        goal = len(self.answered) + number
        assert until(lambda: len(self.answered) >= goal, SECONDS)

    def books(self) -> Books:
        engine = open_engine(self.url)
        try:
            roll_all(engine, _now)
            verification = verify(engine)
            assert (verification.differences, verification.calls) == ((), verification.rolled)
            with reading(engine) as conn:
                aside = sum(_count(conn, table) for table in (tables.conflicts, tables.rejected, tables.received_ahead))
                return Books(_calls(conn), sources(conn), complete_until(conn, _now()), aside)
        finally:
            engine.dispose()

    def end(self) -> None:
        for program in self.programs:
            if program.poll() is None:
                program.kill()
            program.communicate()

    def _process(self, host: str, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *words],
            env=self._environment(host),
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.programs.append(process)
        return process

    def _environment(self, host: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACCOUNTING_", "PYTHON"))}
        places = {"ACCOUNTING_STORE_URL": self.url, "ACCOUNTING_DATA_DIR": str(self.directory / host)}
        return kept | places | {"PYTHONPATH": str(CHECKOUT)}


def _now() -> datetime:
    return datetime.now(UTC)


def _count(conn: sa.Connection, table: sa.Table) -> int:
    return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _calls(conn: sa.Connection) -> dict[str, list[Mapping[str, Any]]]:
    query = sa.select(tables.calls, tables.keys.c.fingerprint).join_from(
        tables.calls, tables.keys, tables.keys.c.id == tables.calls.c.key_id
    )
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in conn.execute(query).mappings():
        found.setdefault(row["fingerprint"], []).append(dict(row))
    return found


def _said(call: Mapping[str, Any]) -> tuple[str, tuple[int, ...] | None]:
    """The outcome and the tokens that the books have for a call."""
    names = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    told = None if call["input_tokens"] is None else tuple(call[name] or 0 for name in names)
    return call["outcome"], told


def _known(line: LedgerLine) -> tuple[str, tuple[int, ...] | None]:
    """The outcome and the tokens that a client knows which has the whole answer."""
    return line.outcome, None if line.told is None else tuple(line.told)


def assert_nothing_is_lost_or_doubled(life: Life) -> Books:
    """Holds the programs' log and the provider's ledger against the books."""
    books, ledger = life.books(), {line.key: line for line in life.provider.ledger}
    answered = life.answered
    assert len(ledger) == len(life.provider.ledger), "a question was asked twice, so the test can't tell"
    assert len(answered) == len(set(answered)) > 0
    assert {_known(ledger[key])[0] for key in answered} == {FINISHED, FAILED}
    assert [key for key in answered if key not in books.calls] == [], "lost: received whole, and not in the books"
    assert [key for key in ledger if key not in books.calls] == [], "lost: sent, and not in the books"
    assert [key for key, calls in books.calls.items() if len(calls) > 1] == [], "in the books twice"
    said = {key: _said(calls[0]) for key, calls in books.calls.items()}
    assert [(said[key], _known(ledger[key])) for key in answered if said[key] != _known(ledger[key])] == []
    unsure = [key for key in ledger if said[key] != _known(ledger[key])]
    assert {said[key][0] for key in unsure} <= {UNKNOWN}, "a program that is gone can't have seen more"
    return books


def assert_all_is_in(books: Books) -> None:
    """No gap, nothing on its way, every source closed."""
    assert books.kept_aside == 0
    for source in books.sources:
        assert (source.missing, source.ahead, source.open, source.backlog) == (0, 0, 0, 0)
        assert source.contiguous == source.highest
        assert source.closed_at is not None
    assert sum(source.highest for source in books.sources) == sum(map(len, books.calls.values()))
    assert books.complete.until is not None
    assert books.complete.until >= max(call["started_at"] for calls in books.calls.values() for call in calls)
