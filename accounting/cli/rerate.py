"""`accounting rerate`: calls that are in the books, priced again by the rates as they are now."""

import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from accounting import rerating
from accounting.cli.books import AsJson, asks, books, confirmed, counting, err, measuring, now, out, put_json
from accounting.cli.budget_effects import Effect, effect_fields, effects, in_words
from accounting.cli.spans import books_zone, day, moment
from accounting.cli.stopping import stop_signal
from accounting.errors import ConfigurationError
from accounting.money import EXACT
from accounting.periods import Days
from accounting.rerating import Model, Recost, Rerated, Which
from accounting.restated import Restated
from accounting.settings import whoami
from accounting.sheets import Cell, Column, Sheet, counted, printable, say, show
from accounting.spend_sheet import money
from accounting.store import reading

_INTERRUPTED = 128 + 2
"""What a shell makes of a program that SIGINT ended."""

_NAMED = 5
"""So many models are named in a sentence."""

_ALL_RIGHT = "All have the rate that holds for them; there is nothing to change."

_COLUMNS = (
    Column("project", figure=False),
    Column("month", figure=False),
    Column("currency", figure=False),
    Column("calls before", spare=2),
    Column("calls after", spare=1),
    Column("before"),
    Column("after"),
    Column("difference"),
)


def rerate(
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="As calls named it, or as aliases lead to it; * is any text."),
    ] = None,
    provider: Annotated[str | None, typer.Option(metavar="PROVIDER", help="Calls of this one alone.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", "-s", metavar="DAY|INSTANT", help="Calls that began from then on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", "-u", metavar="DAY|INSTANT", help="To the end of that day, or until then.")
    ] = None,
    unpriced: Annotated[bool, typer.Option("--unpriced", help="Only calls that have no rate.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    why: Annotated[str | None, typer.Option(help="The reason, kept with it in the books.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Price calls in the books again, by the rates as they are now; first it is shown what that would change.

    Which rate each had before is kept: accounting calls show, accounting restatements. Interrupted, the same command
    goes on where it was. Unpriced calls are priced by accounting work, too, a minute after a rate for them arrives.
    """
    asked = _Asked(dry_run=dry_run, yes=yes, as_json=as_json)
    _refuse_empty({"--model": model, "--provider": provider})
    asked.refuse_unclear(model is provider is None and not unpriced, why or "", by_itself=unpriced)
    with books() as engine, stop_signal(signal.SIGINT) as stopped:
        first, end = _span(engine, since, until)
        which = Which(provider=provider, model=model, first=first, end=end, unpriced_only=unpriced)
        work = _Work(engine, which, why or "", stopped)
        would = work.run(dry_run=True)
        _refuse_unknown(engine, would, which)
        if not as_json:
            _show(would, effects(engine, would.done, is_done=False))
        done = work.run(dry_run=False, total=would.done.seen) if asked.agrees(would) else None
        if not (dry_run or would.done.changed):
            rerating.end_begun(engine, which, would, now())
        moved = effects(engine, (done or would).done, is_done=done is not None)
    if as_json:
        put_json(_fields(done or would, moved, dry_run=dry_run))
    elif done:
        _tell(done, moved, work.command)


def _refuse_empty(names: Mapping[str, str | None]) -> None:
    for option, name in names.items():
        if name is not None and not name.strip():
            raise ConfigurationError(f"{option} is empty; expected a name that calls gave. Leave it out for any.")


@dataclass(frozen=True, slots=True)
class _Asked:
    """How it is to be done."""

    dry_run: bool
    yes: bool
    as_json: bool

    def refuse_unclear(self, is_any: bool, why: str, *, by_itself: bool) -> None:
        """Before the books are read for minutes. Where a rate arrived `by_itself`, that is the reason."""
        if is_any:
            raise ConfigurationError("Say which calls: --model, --provider or --unpriced; --model '*' is all of them.")
        if not (self.dry_run or by_itself or why.strip()):
            raise ConfigurationError("--why is empty; expected the reason, as it is kept in the books. Or: --dry-run")
        if not (self.dry_run or self.yes) and (self.as_json or not asks()):
            raise ConfigurationError("Nobody can be asked here whether to change the books: add --yes, or --dry-run.")

    def agrees(self, would: Rerated) -> bool:
        if self.dry_run or not would.done.changed:
            return False
        return self.yes or confirmed(f"Price {counted(would.done.changed, 'call')} again?")


@dataclass(frozen=True, slots=True)
class _Work:
    """What was asked for, and whether it was since asked to stop."""

    engine: Engine
    which: Which
    why: str
    stopped: threading.Event

    def run(self, *, dry_run: bool, total: int | None = None) -> Rerated:
        seen = 0
        try:
            with _counted(total) as told:

                def progress(so_far: Restated) -> None:
                    nonlocal seen
                    seen = so_far.seen
                    told(so_far.seen_earlier + seen)
                    # Between two steps, so that each is whole and no connection is hit half-way.
                    if self.stopped.is_set():
                        raise _Stopped

                return rerating.rerate(
                    self.engine, self.which, now, whoami(), self.why, dry_run=dry_run, progress=progress
                )
        except _Stopped:
            raise typer.Exit(self._interrupted(seen, dry_run)) from None

    def _interrupted(self, seen: int, dry_run: bool) -> int:
        if dry_run:
            say(err(), f"Interrupted after {counted(seen, 'call')}; nothing was changed.")
        else:
            say(err(), f"Interrupted after {counted(seen, 'call')}; what was done is whole. To go on:", self.command)
        return _INTERRUPTED

    @property
    def command(self) -> str:
        which = self.which
        options = {
            "--model": which.model,
            "--provider": which.provider,
            "--since": None if which.first is None else which.first.isoformat(),
            "--until": None if which.end is None else which.end.isoformat(),
            "--why": self.why or None,
        }
        words = [word for option, text in options.items() if text is not None for word in (option, text)]
        return shlex.join(["accounting", "rerate", *words, *(["--unpriced"] if which.unpriced_only else [])])


class _Stopped(Exception):
    """Raised between two steps, once Ctrl-C was pressed."""


@contextmanager
def _counted(total: int | None) -> Iterator[Callable[[int], None]]:
    if total is None:
        with counting("Looking for calls") as told:
            yield told
    else:
        with measuring() as bar:
            yield lambda seen: bar(f"Pricing {counted(total, 'call')}", seen, total)


def _span(engine: Engine, since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Days are the books' own; the last is included."""
    with reading(engine) as conn:
        days = Days(books_zone(conn))
    first = None if since is None else moment(since, days, "--since")
    end = None if until is None else _end(until, days)
    if first and end and first >= end:
        raise ConfigurationError(f"--since {since} is not before --until {until}; exchange them.")
    return first, end


def _end(text: str, days: Days) -> datetime:
    at = moment(text, days, "--until")
    is_day = "T" not in text and " " not in text.strip()
    return days.start(day(text) + timedelta(days=1)) if is_day else at


def _refuse_unknown(engine: Engine, would: Rerated, which: Which) -> None:
    """A name that no call in the books gave is mistyped."""
    if would.models or which.unpriced_only:
        return
    with reading(engine) as conn:
        held = rerating.models(conn, Which(first=which.first, end=which.end))
    names = sorted({name for pair in held for name in pair})
    near = get_close_matches(which.model or which.provider or "", names, n=3, cutoff=0.5)
    hint = f" Near it: {', '.join(map(printable, near))}." if near else ""
    name = " of ".join(printable(text) for text in (which.model, which.provider) if text)
    raise ConfigurationError(f"The books have no call of {name} then.{hint} See accounting report --by model")


def _show(would: Rerated, moved: Sequence[Effect]) -> None:
    say(out(), *_found(would), *in_words(moved, "would move"))
    if would.recosts:
        say(out(), "")
        show(out(), Sheet(_COLUMNS, tuple(map(_cells, would.recosts))))


def _found(would: Rerated) -> Iterator[str]:
    done = would.done
    if not would.models:
        yield "No such call is unpriced."
        return
    if done.seen:
        yield f"Looked at {counted(done.seen, 'call')} of {_named(would.looked_at)}."
    if done.changed:
        yield from _changed(would)
    else:
        yield (_ALL_RIGHT, "There is nothing to change.")[bool(would.unpriced)]
    if would.unpriced:
        yield _unpriced(would)


def _changed(would: Rerated) -> Iterator[str]:
    done = would.done
    yield (
        f"{counted(done.changed, 'call')} would get another rate, and {done.recosted:,} of them would cost something "
        f"else: {money(done.before)} before, {money(done.after)} after."
    )
    if would.unpriced_before or would.unpriced_after:
        yield f"Unpriced among them: {would.unpriced_before:,} before, {would.unpriced_after:,} after."


def _unpriced(would: Rerated) -> str:
    number, (provider, model), *_ = sum(would.unpriced.values()), *_by_calls(would)
    stay = "would be" if would.unpriced_after else "stays" if number == 1 else "stay"
    explain = shlex.join(["accounting", "rates", "explain", printable(model), "--provider", printable(provider)])
    named = _named(_by_calls(would))
    return f"{counted(number, 'call')} {stay} unpriced: no rate holds for {named}. Why: {explain} --at …"


def _by_calls(would: Rerated) -> list[Model]:
    """The models that have unpriced calls, first those with most."""
    return sorted(would.unpriced, key=lambda model: (-would.unpriced[model], model))


def _named(models: Sequence[Model]) -> str:
    named = ", ".join(printable(f"{provider}/{name}") for provider, name in models[:_NAMED])
    more = len(models) - _NAMED
    return f"{named} and {more:,} more" if more > 0 else named


def _cells(one: Recost) -> tuple[Cell, ...]:
    month, counts = f"{one.month:%Y-%m}", (one.calls_before, one.calls_after)
    if not one.currency:
        return printable(one.project), month, "unpriced", *counts, None, None, None
    costs = one.before, one.after, EXACT.subtract(one.after, one.before)
    return printable(one.project), month, one.currency, *counts, *costs


def _tell(done: Rerated, moved: Sequence[Effect], command: str) -> None:
    costs = f"{money(done.done.before)} before, {money(done.done.after)} after"
    say(
        out(),
        "",
        f"Priced {counted(done.done.changed, 'call')} again: {costs}.",
        *in_words(moved),
        *_earlier(done.done),
    )
    say(out(), "Which rate each had before: accounting restatements list --kind rerated")
    if done.overtaken:
        say(err(), "The rates changed meanwhile, and some calls may have been priced before. To make sure:", command)


def _earlier(done: Restated) -> Iterator[str]:
    if earlier := done.changed_earlier:
        were = "was" if earlier == 1 else "were"
        yield f"{earlier:,} {were} before it was interrupted: {earlier + done.changed:,} in all."


def _fields(done: Rerated, moved: Sequence[Effect], *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "models": [{"provider": provider, "model": name} for provider, name in done.models],
        "calls": done.done.seen,
        "changed": done.done.changed,
        "changed_in_all": done.done.changed_earlier + done.done.changed,
        "recosted": done.done.recosted,
        "unpriced": [{"provider": one[0], "model": one[1], "calls": done.unpriced[one]} for one in _by_calls(done)],
        "unpriced_before": done.unpriced_before,
        "unpriced_after": done.unpriced_after,
        "before": done.done.before,
        "after": done.done.after,
        "budgets": effect_fields(moved),
        "projects": [{**asdict(one), "month": f"{one.month:%Y-%m}"} for one in done.recosts],
        "overtaken": done.overtaken,
    }
