"""Many calls at once, from one program or several, against a budget that has room for a few.

    python -m tests.faults.races [--rounds 20] [--database sqlite|postgresql]

races every formation so many rounds against strict budgets and hard ones, on both databases, and says how many held.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

from accounting import backfill, scoped
from accounting.budgetperiods import Period
from accounting.budgets import Budget
from accounting.cycles import Cycle, Every
from accounting.decisions import Mode
from accounting.money import exact
from accounting.simulator import Simulator
from accounting.store import reading
from accounting.store.tables import calls, reservations, sources
from tests.books import Books
from tests.budgeted import CARD, budget, periods, project
from tests.databases import PostgresDatabases, SqliteFiles, running
from tests.faults.racing_program import BODY, MAX_TOKENS

CHECKOUT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("racing_program.py")
SECONDS = 120.0

CALLS, FIT = 200, 20
FORMATIONS = {
    "threads": (("threads", 200, "one"),),
    "tasks": (("tasks", 200, "one"),),
    "4 processes": (("threads", 50, "one"), ("tasks", 50, "one")) * 2,
    "2 hosts": (("threads", 100, "one"), ("tasks", 100, "other")),
}
"""Programs that race each other: how they call, how often, and on which host, each with journals of its own."""

MOST = Decimal(len(BODY) + 10 * MAX_TOKENS) / 1000
"""What a call costs that uses as many tokens as its request has bytes, and as many as it allows."""

NO_SETTINGS: Mapping[str, str] = {}

DEAREST = f"input={len(BODY)}; output={MAX_TOKENS}; cached=0; reasoning=0; wait=0.02"
"""An answer that costs `MOST`, so that what is settled early makes room for nobody."""

LONGER = f"input={10 * len(BODY)}; output={MAX_TOKENS}; cached=0; reasoning=0; wait=0.02"
"""An answer that costs more than a budget that is not strict sets aside."""


@dataclass(frozen=True, slots=True)
class Round:
    """How a round ended: what became of its calls, how many of them the provider has seen, and the budget's period.

    `counted` is what the calls in the books cost by themselves.
    """

    name: str
    limit: Decimal
    said: Counter[str]
    seen: int
    period: Period
    counted: Decimal
    kept_aside: int
    faults: Counter[str]
    refused_in_books: int

    @property
    def passed(self) -> int:
        return self.said["passed"]

    @property
    def asked(self) -> Decimal:
        """What each refused call asked for: all ask for the same."""
        (one,) = {words.partition(" ")[2] for words in self.said if words.startswith("over ")}
        return exact(one)


def race(
    directory: Path, books: Books, formation: str, mode: Mode, rounds: int, settings: Mapping[str, str] = NO_SETTINGS
) -> list[Round]:
    """So many rounds of the formation; of each is told how it stands when all calls are in the books.

    `settings` are the programs' environment, beside the usual.
    """
    script = DEAREST if mode is Mode.STRICT else LONGER
    names = [f"{formation} {mode} {number}" for number in range(rounds)]
    budgets = {name: _budget(books, name, MOST * FIT, mode) for name in names}
    with Simulator() as provider, _programs(directory, books, provider, formation, settings) as programs:
        said = {name: _round(programs, name, script) for name in names}
        seen = Counter(line.key for line in provider.ledger)
    return [_ended(books, name, budgets[name], said[name], seen) for name in names]


def _budget(books: Books, name: str, limit: Decimal, mode: Mode) -> Budget:
    total = Cycle(Every.TOTAL)
    return budget(books, str(limit), project(books, name), cycle=total, name=name, mode=mode, now=datetime.now(UTC))


@contextmanager
def _programs(
    directory: Path, books: Books, provider: Simulator, formation: str, settings: Mapping[str, str]
) -> Iterator[list["subprocess.Popen[str]"]]:
    """Programs that wait for a round; in the end all that they have in their journals is in the books."""
    hosts = {host: {**_environment(directory, books, host), **settings} for _, _, host in FORMATIONS[formation]}
    programs = [
        _begun(hosts[host], str(PROGRAM), provider.url, colour, str(number))
        for colour, number, host in FORMATIONS[formation]
    ]
    try:
        yield programs
        for program in programs:
            _, complaints = program.communicate(timeout=SECONDS)
            assert program.returncode == 0, complaints
    finally:
        for program in programs:
            program.kill()
            program.communicate()
    for env in hosts.values():
        process = _begun(env, "-c", "from accounting.cli import main; main()", "deliver")
        _, complaints = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, complaints


def _begun(env: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *words], env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _environment(directory: Path, books: Books, host: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACCOUNTING_", "PYTHON"))}
    url = books.engine.url.render_as_string(hide_password=False)
    # On a machine that others use as well 200 threads may wait for longer than the usual 5 s.
    ours = {"ACCOUNTING_STORE_URL": url, "ACCOUNTING_BUDGET_SECONDS": "60"}
    return kept | ours | {"ACCOUNTING_DATA_DIR": str(directory / host), "PYTHONPATH": str(CHECKOUT)}


def _round(programs: Sequence["subprocess.Popen[str]"], name: str, script: str) -> Counter[str]:
    for program in programs:
        assert program.stdin is not None
        program.stdin.write(json.dumps([name, script]) + "\n")
        program.stdin.flush()
    said: Counter[str] = Counter()
    for program in programs:
        assert program.stdout is not None
        line = program.stdout.readline()
        assert line, program.communicate()[1]
        said.update(json.loads(line))
    return said


def _ended(books: Books, name: str, of: Budget, said: Counter[str], seen: Counter[str]) -> Round:
    with reading(books.engine) as conn:
        counted = backfill.spent(of, scoped.costs(conn, of.scope, of.counted_from))
    (period,) = periods(books, of)
    ids = {row["id"]: row["refused_by"] for row in books.rows(calls) if row["project_id"] == of.scope.id}
    return Round(
        name=name,
        limit=of.terms.limit,
        said=said,
        seen=seen[sha256(f"sk-{name}".encode()).hexdigest()],
        period=period,
        counted=sum((each.spent for each in counted.values()), Decimal(0)),
        faults=sum((Counter(row["faults"]) for row in books.rows(sources)), Counter()),
        kept_aside=sum(row["call_id"] in ids for row in books.rows(reservations)),
        refused_in_books=list(ids.values()).count(name),
    )


def assert_all_is_settled(ended: Round) -> None:
    """What was sent is charged, what was refused is in the books as refused, and nothing is set aside any more."""
    assert not ended.faults, ended
    assert ended.said.total() == CALLS, ended
    assert ended.seen == ended.passed, ended
    assert ended.refused_in_books == CALLS - ended.passed, ended
    assert not any((ended.period.reserved, ended.period.held, ended.kept_aside)), ended
    assert ended.period.spent == ended.counted, ended


def assert_strict_holds(ended: Round) -> None:
    """Exactly as many calls passed as there was room for."""
    assert_all_is_settled(ended)
    assert (ended.passed, ended.period.spent, ended.period.overrun) == (FIT, FIT * MOST, Decimal(0)), ended


def assert_hard_holds(ended: Round) -> None:
    """More is spent than the limit by no more than what calls cost beyond what was set aside for them."""
    assert_all_is_settled(ended)
    cost = Decimal(10 * len(BODY) + 10 * MAX_TOKENS) / 1000
    assert ended.asked < cost
    assert ended.period.spent == ended.passed * cost, ended
    assert ended.period.overrun == ended.passed * (cost - ended.asked), ended
    assert 0 < ended.passed <= ended.limit / ended.asked, ended
    assert ended.period.spent - ended.limit <= ended.period.overrun, ended


HOLDS = {Mode.STRICT: assert_strict_holds, Mode.HARD: assert_hard_holds}


def _told(directory: Path, books: Books, kind: str, formation: str, mode: Mode, rounds: int) -> None:
    begin = time.perf_counter()
    ended = race(directory, books, formation, mode, rounds)
    for each in ended:
        HOLDS[mode](each)
    passed = Counter(each.passed for each in ended)
    over = max(each.period.spent - each.limit for each in ended)
    print(
        f"{kind}, {mode}, {formation}: {len(ended)} rounds of {CALLS} calls, room for {FIT}: held in all; passed "
        f"{', '.join(f'{number} ({times} times)' for number, times in sorted(passed.items()))}; spent beyond the limit "
        f"{max(over, Decimal(0))}; {time.perf_counter() - begin:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running() as server:
        for database in (SqliteFiles(Path(folder)), PostgresDatabases(server)):
            if chosen.database not in (None, database.kind):
                continue
            books = Books(database.store())
            books.load(CARD)
            for mode in HOLDS:
                for formation in FORMATIONS:
                    _told(Path(folder) / database.kind, books, database.kind, formation, mode, chosen.rounds)
            books.close()


if __name__ == "__main__":
    main()
