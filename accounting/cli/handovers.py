"""`accounting keys assign` and `move`: a key goes to a project, and its calls in the books follow it or stay."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Engine

from accounting import handovers, keys, projects
from accounting.cli.books import Why, asks, books, confirmed, counting, now, out
from accounting.cli.budget_effects import effects, in_words
from accounting.cli.keys import KeyText, app
from accounting.cli.spans import moment
from accounting.errors import ConfigurationError
from accounting.handovers import Handover
from accounting.keys import Assignment, Key
from accounting.projects import UNASSIGNED, Project
from accounting.restated import Restated
from accounting.settings import whoami
from accounting.sheets import counted, instant, printable, say
from accounting.spend_sheet import money
from accounting.store import reading

ProjectName = Annotated[str, typer.Argument(metavar="PROJECT", help="Who pays from then on.")]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="INSTANT|DAY",
        help="From then on: 2026-11-01, or 2026-11-23T10:00+08:00; else from now, or where calls in the books are "
        "moved from the first of this month.",
    ),
]
Past = Annotated[
    bool | None,
    typer.Option(
        "--restate/--no-restate",
        help="Move its calls in the books since then, too, or leave them. Without --since those since this month "
        "began are moved, and the project pays from then on, not from now.",
        show_default="asks; leaves them where nobody can answer",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would move, and change nothing.")]


@app.command()
def assign(
    key: KeyText,
    project: ProjectName,
    why: Why,
    since: Since = None,
    past: Past = None,
    dry_run: DryRun = False,
) -> None:
    """Say which project pays for what a key calls without naming one; for a key that has none yet."""
    with books() as engine:
        order = _order(engine, key, project, since, why)
        if order.payer != UNASSIGNED:
            raise ConfigurationError(
                f"Key {order.key.label} has a project: {order.payer}. To give it another: accounting keys move"
            )
        _hand_over(engine, order, past, dry_run)


@app.command()
def move(
    key: KeyText,
    project: ProjectName,
    why: Why,
    since: Since = None,
    past: Past = None,
    dry_run: DryRun = False,
) -> None:
    """Give a key to another project. Calls that a program attributed stay with the project it named."""
    with books() as engine:
        _hand_over(engine, _order(engine, key, project, since, why), past, dry_run)


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for: a key to a project, who has paid until now, and who is planned to later.

    `since` is what was said, `earliest` what the calls in the books can be moved from; `zone` is the project's.
    """

    key: Key
    payer: str
    planned: Assignment | None
    project: Project
    zone: ZoneInfo
    since: datetime | None
    earliest: datetime
    why: str

    @property
    def dated_back(self) -> str:
        """What moving calls does to the key's own date; nothing where that was said."""
        return "" if self.since else f", and {printable(self.project.name)} would pay from then on, not from now"

    @property
    def begin(self) -> str:
        return instant(self.earliest, self.zone)

    def from_(self, since: datetime) -> Handover:
        return Handover(self.key, self.project, since, whoami(), self.why)


def _order(engine: Engine, key: str, project: str, since: str | None, why: str) -> _Order:
    at = now()
    with reading(engine) as conn:
        wanted, payer = keys.find(conn, key), projects.find(conn, project)
        payers = keys.payers(conn, [wanted.id])
        days = projects.calendar(conn).days(payer.id)
    today = days.of(at)
    said = None if since is None else moment(since, days, "--since")
    turn, later = payers.at(wanted.id, at), payers.after(wanted.id, max(at, said or at))
    return _Order(
        key=wanted,
        payer=turn.project if turn else UNASSIGNED,
        planned=later,
        project=payer,
        zone=days.zone_on(today),
        since=said,
        earliest=said or days.start(today.replace(day=1)),
        why=why,
    )


def _hand_over(engine: Engine, order: _Order, past: bool | None, dry_run: bool) -> None:
    whole = order.from_(order.earliest)
    with counting("Looking for its calls") as told:
        left = handovers.would_follow(engine, whole, now, lambda so_far: told(so_far.seen))
    moved = [*in_words(effects(engine, left, is_done=False), "would move")]
    if dry_run:
        say(out(), *_would(order, left, moved))
    elif past or (past is None and left.changed and _answers_yes(order, left, moved)):
        handovers.hand_over(engine, whole, now())
        say(out(), _told(order, whole.since))
        _follow(engine, whole)
    else:
        since = order.since or now()
        if order.since or order.payer != order.project.name:
            handovers.hand_over(engine, order.from_(since), now())
        say(out(), _told(order, since), *_stay(order, left))


def _answers_yes(order: _Order, left: Restated, moved: Sequence[str]) -> bool:
    if not asks():
        return False
    question = (
        f"{_calls(left)}, since {order.begin} are booked on other projects, by the key or as unassigned. "
        f"They can move{order.dated_back}. Move them to {printable(order.project.name)}?"
    )
    say(out(), *moved)
    return confirmed(question)


def _follow(engine: Engine, handover: Handover) -> None:
    with counting("Moving its calls") as told:
        moved = handovers.follow(engine, handover, now, lambda so_far: told(so_far.changed))
    say(out(), f"Moved {_calls(moved)}. {_REST}", *in_words(effects(engine, moved, is_done=True)))


_REST = "Calls before stay where they are booked, and so do those that a program attributed."


def _told(order: _Order, since: datetime, verb: str = "pays") -> str:
    """The sentence about calls to come."""
    what = f"what key {printable(order.key.label)} calls without naming a project"
    before = f"until now {printable(order.payer)}" if order.payer != order.project.name else "as it does now"
    later = ""
    if order.planned:
        later = f"; from {instant(order.planned.since, order.zone)} on {printable(order.planned.project)}, as planned"
    return f"From {instant(since, order.zone)} on {printable(order.project.name)} {verb} for {what}; {before}{later}."


def _stay(order: _Order, left: Restated) -> list[str]:
    if not left.changed:
        return [f"None of its calls in the books would move. {_REST}"]
    return [
        f"{_calls(left)}, since {order.begin} stay where they are booked. To move them, too{order.dated_back}:",
        _command(order),
    ]


def _would(order: _Order, left: Restated, moved: Sequence[str]) -> list[str]:
    since = order.since or now()
    return [
        f"{_told(order, since, 'would pay')} This is a dry run: nothing was changed.",
        f"With --restate {_calls(left)}, since {order.begin} would move{order.dated_back}. {_REST}",
        *moved,
    ]


def _command(order: _Order) -> str:
    since = order.earliest.astimezone(order.zone).isoformat()
    words = ["accounting", "keys", "move", order.key.fingerprint[:8] or order.key.label, order.project.name]
    return shlex.join([*words, "--since", since, "--restate", "--why", order.why])


def _calls(moved: Restated) -> str:
    return f"{counted(moved.changed, 'call')}, {money(moved.after)}"
