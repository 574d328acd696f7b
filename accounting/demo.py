"""A first look without a key: a metered workload against a simulated provider, its ledger held against the books.

Everything happens in one folder: the person's own books, journals and providers file are neither read nor written.
"""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn
from rich.text import Text
from sqlalchemy import Engine

from accounting import ratebook, recorder, workload
from accounting.cards import parse_card
from accounting.client import flush
from accounting.errors import ConfigurationError, StoreError
from accounting.places import sqlite_url
from accounting.rollup import roll_all
from accounting.sheets import Column, Sheet, counted, say, show
from accounting.simulated.ledger import FAILED, INTERRUPTED, UNKNOWN, LedgerLine, Tokens, costs, total
from accounting.simulator import Simulator
from accounting.spend import Report, SpendLine, spend
from accounting.spend_sheet import Span, money, show_report
from accounting.store import named, open_engine, reading, schema, writing
from accounting.usage import Quantities
from accounting.verify import Verification, verify

FLUSH_SECONDS = 60.0
BOOKS = "books.sqlite3"

_NOTHING = Quantities()

Step = Callable[[str, int], Callable[[int], None]]
"""Begins a step of so many parts; what it returns is told how many are done."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one side says of a key's or a model's calls; amounts by currency."""

    calls: int = 0
    failed: int = 0
    interrupted: int = 0
    unknown: int = 0
    used: Quantities = _NOTHING
    spent: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """One key or model, as the provider's ledger has it and as the books do."""

    by: str
    group: str
    ledger: Figures
    books: Figures

    @property
    def agrees(self) -> bool:
        return self.ledger == self.books


@dataclass(frozen=True, slots=True)
class Untold:
    """What the provider charged for and did not say: calls without any usage, with a part of it, and the money."""

    calls: int = 0
    in_part: int = 0
    spent: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ledger held against the books, by key and by model, and the books against themselves."""

    lines: tuple[Compared, ...]
    verification: Verification
    untold: Untold

    @property
    def agrees(self) -> bool:
        return self.verification.balanced and all(line.agrees for line in self.lines)


def run(directory: Path, console: Console, calls: int = 2000, program: str = "accounting") -> Comparison:
    """Make the calls, keep books of them in the directory, print the report and hold the ledger against it.

    `program` is what the person has to type for this program. Raises `ConfigurationError` if the directory has
    books already.
    """
    url = _fresh_books(directory)
    with own_books(directory, url), Simulator() as provider, _progress() as step:
        _say_where(console, provider.url, url)
        engine = open_engine(url)
        try:
            _prepare(engine)
            _make(provider.url, calls, step)
            _book(engine, step)
            comparison, report = _compare(engine, provider.ledger, step)
        finally:
            engine.dispose()
    _tell(console, report, comparison)
    _say_what_next(console, url, program)
    return comparison


def _fresh_books(directory: Path) -> str:
    file = directory.absolute() / BOOKS
    if file.exists():
        raise ConfigurationError(
            f"{file} has books already, and the provider's ledger begins anew each time. "
            "Give another --directory, or leave it out for a new one."
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return sqlite_url(file)


@contextmanager
def own_books(directory: Path, url: str) -> Iterator[None]:
    """Meter this process's calls into the store at the URL, by journals in the directory; as it was afterwards."""
    recorder.close()
    before = {name: value for name, value in os.environ.items() if name.startswith("ACCOUNTING_")}
    _set({"ACCOUNTING_STORE_URL": url, "ACCOUNTING_DATA_DIR": str(directory.absolute())})
    try:
        yield
    finally:
        recorder.close()
        _set(before)


def _set(settings: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("ACCOUNTING_")]:
        del os.environ[name]
    os.environ.update(settings)


def _prepare(engine: Engine) -> None:
    """An empty store in UTC, with the demo's prices beside the shipped ones."""
    card = files("accounting.simulated").joinpath("ratecard.toml").read_text("utf-8")
    schema.create(engine, "UTC", _now())
    with writing(engine) as conn:
        ratebook.load(conn, parse_card(card, "ratecard.toml"), _now())


def _make(url: str, calls: int, step: Step) -> None:
    done = step("Calling the simulated provider", calls)
    workload.make(url, workload.questions(calls), lambda: done(1))


def _book(engine: Engine, step: Step) -> None:
    done = step("Delivering and rolling up", 2)
    if not flush(FLUSH_SECONDS):
        raise StoreError(
            f"The calls did not get into {named(engine)} within {FLUSH_SECONDS:.0f} s; see the warning above."
        )
    recorder.close()  # says goodbye to the store, so that the books are known to be complete
    done(1)
    roll_all(engine, _now)
    done(1)


def _compare(engine: Engine, ledger: tuple[LedgerLine, ...], step: Step) -> tuple[Comparison, Report]:
    done = step("Holding the ledger against the books", 2)
    verification = verify(engine)
    done(1)
    with reading(engine) as conn:
        by_project, by_key, by_model = (spend(conn, by, None, None, now=_now()) for by in ("project", "key", "model"))
    lines = (*compared(by_key, ledger, lambda line: line.key), *compared(by_model, ledger, lambda line: line.model))
    done(1)
    return Comparison(lines, verification, untold(ledger)), by_project


def compared(report: Report, ledger: Iterable[LedgerLine], group: Callable[[LedgerLine], str]) -> list[Compared]:
    """A report's lines beside the ledger's sums; what only one of them has stands against nothing."""
    booked = {line.id: line for line in report.lines}
    charged: dict[str, list[LedgerLine]] = {}
    for line in ledger:
        charged.setdefault(group(line), []).append(line)
    labels = {id_: booked[id_].group if id_ in booked else id_ for id_ in (*booked, *charged)}
    return [
        Compared(report.by, label, _charged(charged.get(id_, [])), _booked(booked.get(id_)))
        for id_, label in labels.items()
    ]


def _charged(lines: list[LedgerLine]) -> Figures:
    """The ledger's own sum of what it has told, in its own arithmetic."""
    ends = [line.outcome for line in lines]
    told = [(line.model, line.told) for line in lines if line.told]
    return Figures(
        len(lines),
        ends.count(FAILED),
        ends.count(INTERRUPTED),
        ends.count(UNKNOWN),
        Quantities(*total(tokens for _, tokens in told), requests=len(told)),
        _amounts(costs(told)),
    )


def untold(ledger: Iterable[LedgerLine]) -> Untold:
    """What no client can know: answers that broke off, or had no usage block."""
    some = [line for line in ledger if line.told != line.charged and line.charged.output]
    charged = costs((line.model, line.charged) for line in some)
    told = costs((line.model, line.told or Tokens()) for line in some)
    missing = sum(line.told is None for line in some)
    return Untold(missing, len(some) - missing, _amounts({code: charged[code] - told[code] for code in charged}))


def _booked(line: SpendLine | None) -> Figures:
    if line is None:
        return _charged([])
    return Figures(
        line.calls,
        line.failed,
        line.interrupted,
        line.unknown,
        line.quantities,
        _amounts(dict(line.spent)),
    )


def _amounts(spent: dict[str, Decimal]) -> tuple[tuple[str, Decimal], ...]:
    return tuple(sorted((currency, value) for currency, value in spent.items() if value))


def _say_where(console: Console, provider: str, url: str) -> None:
    say(console, f"A simulated provider answers at {provider}; your own books are not touched.")
    # On one line whatever the width, so that it can be copied, or found by a program.
    console.print(Text(f"store: {url}"), soft_wrap=True)
    say(console, "")


def _tell(console: Console, report: Report, comparison: Comparison) -> None:
    show_report(console, report, Span(None, None, "UTC"))
    say(console, "", "The provider's ledger and these books, each by its own arithmetic", "")
    show(console, _sheet(comparison.lines))
    say(console, "", *verdict(comparison), "")


def _sheet(lines: Iterable[Compared]) -> Sheet:
    columns = (
        Column("key or model", figure=False),
        Column("calls"),
        Column("ledger"),
        Column("books"),
        Column("agree"),
    )
    rows = tuple(
        (
            line.group,
            line.books.calls,
            money(dict(line.ledger.spent)),
            money(dict(line.books.spent)),
            "yes" if line.agrees else "NO",
        )
        for line in lines
    )
    return Sheet(columns, rows)


def verdict(comparison: Comparison) -> list[str]:
    """What came out, in sentences; each disagreement by itself."""
    calls = counted(comparison.verification.calls, "call")
    if comparison.agrees:
        return [f"Ledger and books agree to the last digit: {calls}, by key and by model.", *_beyond(comparison.untold)]
    wrong = [line for line in comparison.lines if not line.agrees]
    return [
        *(f"{line.by} {line.group}: the ledger says {line.ledger}, the books {line.books}" for line in wrong),
        *map(str, comparison.verification.differences),
        f"Ledger and books do NOT agree: {calls}.",
    ]


def _beyond(untold: Untold) -> list[str]:
    if not untold.calls + untold.in_part:
        return []
    return [
        f"Beyond them it charged {money(dict(untold.spent))} and never told the client: "
        f"{counted(untold.calls, 'answer')} ended or came without usage, {untold.in_part:,} with a part of it. "
        "The report counts those calls."
    ]


def _say_what_next(console: Console, url: str, program: str) -> None:
    say(
        console,
        "Look around in these books:",
        "",
        f"    export ACCOUNTING_STORE_URL={shlex.quote(url)}",
        f"    {program} report --by key",
        f"    {program} calls",
        "",
        "Meter your own calls, in a shell without that variable. In your program:",
        "",
        "    import accounting",
        "    from openai import OpenAI",
        '    client = accounting.meter(OpenAI(), project="checkout")',
        "",
        "Then:",
        "",
        f"    {program} report --by key",
    )


@contextmanager
def _progress() -> Iterator[Step]:
    """A bar for each step, on a terminal; gone when all is done."""
    err = Console(stderr=True)
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:

        def step(what: str, parts: int) -> Callable[[int], None]:
            task = bar.add_task(what, total=parts)
            return lambda done: bar.advance(task, done)

        yield step


def _now() -> datetime:
    return datetime.now(UTC)
