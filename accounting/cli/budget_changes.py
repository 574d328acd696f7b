"""`accounting budgets add`, `edit`, `pause`, `resume` and `remove`: what changes budgets."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated

import typer
from sqlalchemy import Connection, Engine

from accounting import backfill, budget_figures, budgets, keys, money, projects, reservations, settling, stamps
from accounting.budget_figures import Figures
from accounting.budgets import Budget, Fields, Terms
from accounting.cli.books import AsJson, MaybeWhy, asks, books, confirmed, now, out, put_json
from accounting.cli.budget_sheets import (
    IN_REPORTS,
    budget_fields,
    change_fields,
    cycle_in_words,
    fields_in_words,
    figure_fields,
    mode_in_words,
    refused_in_words,
)
from accounting.cli.said import count
from accounting.cli.spans import day
from accounting.cycles import Cycle, Every
from accounting.decisions import Mode, WhenAway
from accounting.errors import ConfigurationError
from accounting.forecast import LOOKED_BACK
from accounting.money import EXACT, ZERO, exact
from accounting.scopes import Kind, Scope
from accounting.settings import whoami
from accounting.sheets import amount, counted, printable, say
from accounting.store import reading

Name = Annotated[str, typer.Argument(metavar="NAME", help="The budget, as in accounting budgets list.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Amount = Annotated[str, typer.Option(metavar="AMOUNT", help="The limit of each period, like 100 or 99.50.")]
MaybeAmount = Annotated[str | None, typer.Option("--amount", metavar="AMOUNT", help="Another limit of each period.")]
Soft = Annotated[bool, typer.Option("--soft", help="Stop no call; the default.")]
Hard = Annotated[bool, typer.Option("--hard", help="Refuse calls that likely cost more than what is left.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse calls that can cost more than what is left.")]
Thresholds = Annotated[
    str | None,
    typer.Option(
        "--threshold", metavar="PERCENTS", help="Percent of the limit to be told at, like 50,80,100; or none."
    ),
]
Away = Annotated[
    WhenAway | None,
    typer.Option(
        "--when-away",
        help="What becomes of calls while the store can't be asked; a hard budget refuses them where nothing is said.",
    ),
]
Fx = Annotated[
    list[str] | None,
    typer.Option(
        "--fx",
        metavar="CODE=RATE",
        help="What one unit of another currency is in the budget's: USD=7.1; USD=none takes one back, none all.",
    ),
]
MaxOutput = Annotated[
    str | None,
    typer.Option(
        "--max-output", metavar="COUNT", help="Most tokens of an answer to a request that names none; or none."
    ),
]

_EVERY = {str(each): each for each in Every if each is not Every.DAYS}
_SO_MANY_DAYS = re.compile(r"([0-9]{1,5}) ?d(?:ays?)?")

_MODES = {"--soft": Mode.SOFT, "--hard": Mode.HARD, "--strict": Mode.STRICT}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """Terms of a budget as somebody typed them; None: not at all."""

    name: str | None = None
    amount: str | None = None
    mode: Mode | None = None
    threshold: str | None = None
    when_away: WhenAway | None = None
    fx: Sequence[str] | None = None
    max_output: str | None = None

    def terms(self, before: Terms) -> Terms:
        """What was before, with what is said in its place."""
        mode = before.mode if self.mode is None else self.mode
        return Terms(
            name=before.name if self.name is None else self.name,
            limit=before.limit if self.amount is None else _number(self.amount, "--amount"),
            mode=mode,
            thresholds=before.thresholds if self.threshold is None else _percents(self.threshold),
            when_away=self.when_away or _away(before, mode),
            fx=before.fx if self.fx is None else _exchange(before.fx, self.fx),
            max_output=before.max_output if self.max_output is None else _most(self.max_output),
        )


def _away(before: Terms, mode: Mode) -> WhenAway:
    """What a soft budget says of that has no meaning, so it is not what its hard self shall do."""
    same = (before.mode is Mode.SOFT) == (mode is Mode.SOFT)
    return before.when_away if same else _usual(mode)


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    amount: Amount,
    currency: Annotated[str, typer.Option(metavar="CODE", help="A code of ISO 4217, like CNY.")],
    every: Annotated[str, typer.Option(metavar="PERIOD", help="day, week, month, quarter, year, total, or days: 10d.")],
    project: Annotated[str | None, typer.Option(help="On what this project pays for.")] = None,
    key: Annotated[str | None, typer.Option(help="On the calls of this key: its name, or last four.")] = None,
    model: Annotated[str | None, typer.Option(help="On this model; * stands for any text: gpt-4o*.")] = None,
    provider: Annotated[str | None, typer.Option(help="On this provider.")] = None,
    user: Annotated[str | None, typer.Option(help="On this end user.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME=VALUE", help="On calls with this tag.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="On all calls.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="DAY", help="With days, the first of one period, else today; or of a total.")
    ] = None,
    soft: Soft = False,
    hard: Hard = False,
    strict: Strict = False,
    threshold: Thresholds = None,
    when_away: Away = None,
    fx: Fx = None,
    max_output: MaxOutput = None,
    why: MaybeWhy = None,
    as_json: AsJson = False,
) -> None:
    """Make a budget. What was spent already in the period that is running counts."""
    subjects = {
        "--project": project,
        "--key": key,
        "--model": model,
        "--provider": provider,
        "--user": user,
        "--tag": tag,
        "--everything": "" if everything else None,
    }
    option, text = _only(subjects)
    said = _Said(
        name=name,
        amount=amount,
        mode=_mode(soft, hard, strict),
        threshold=threshold,
        when_away=when_away,
        fx=fx,
        max_output=max_output,
    )
    terms = said.terms(Terms(name=name, limit=ZERO, when_away=_usual(Mode.SOFT)))

    def made(conn: Connection) -> Budget:
        scope = _scope(conn, option, text)
        cycle = _cycle(every, since, _today(conn, scope))
        budget = budgets.add(conn, scope, currency, cycle, terms, now(), whoami(), why or "")
        backfill.fill(conn, budget)
        return budget

    with books() as engine:
        found = _figures(engine, stamps.decide(engine, made))
    if as_json:
        put_json(figure_fields(found))
    else:
        _say_added(found)


def _say_added(found: Figures) -> None:
    budget, state = found.standing.budget, found.standing.state
    what = f"{_limit(budget)} {cycle_in_words(budget)}, {mode_in_words(budget)}"
    since = "Until now" if budget.cycle == Cycle(Every.TOTAL) else f"Since {state.begins_on}"
    say(out(), printable(f"Added budget {budget.name} on {budget.told}: {what}."))
    say(out(), f"{since} {in_currency(state.spent, budget)} is spent; {_left(found)}.")
    say(out(), *_warnings(found), _binding(budget))


def edit(
    name: Name,
    new_name: Annotated[str | None, typer.Option("--name", metavar="NEW", help="Another name.")] = None,
    amount: MaybeAmount = None,
    soft: Soft = False,
    hard: Hard = False,
    strict: Strict = False,
    threshold: Thresholds = None,
    when_away: Away = None,
    fx: Fx = None,
    max_output: MaxOutput = None,
    why: MaybeWhy = None,
    as_json: AsJson = False,
) -> None:
    """Change a budget's terms. What was spent stays; a new limit is also that of the period that is running."""
    said = _Said(
        name=new_name,
        amount=amount,
        mode=_mode(soft, hard, strict),
        threshold=threshold,
        when_away=when_away,
        fx=fx,
        max_output=max_output,
    )
    if said == _Said():
        raise ConfigurationError("Nothing to change was named; see the options: accounting budgets edit --help")
    with books() as engine:
        before, after = stamps.decide(engine, lambda conn: _edited(conn, name, said, why or ""))
        found = _figures(engine, after)
    fields = budgets.changed_terms(before.terms, after.terms)
    if as_json:
        put_json(figure_fields(found) | {"changed": change_fields(fields)})
    elif fields:
        _say_edited(before, found, fields)
    else:
        say(out(), printable(f"{before.name} is so already; nothing was changed."))


def _edited(conn: Connection, name: str, said: _Said, why: str) -> tuple[Budget, Budget]:
    before = budgets.find(conn, name)
    after = budgets.edit(conn, before, said.terms(before.terms), now(), whoami(), why)
    if after.terms.fx != before.terms.fx:
        backfill.fill(conn, after)
        settling.exchange(conn, before, after)
    return before, after


def _say_edited(before: Budget, found: Figures, fields: Fields) -> None:
    after, left = found.standing.budget, _left(found)
    say(out(), printable(f"Changed {before.name}: {fields_in_words(fields)}. {left[0].upper()}{left[1:]}."))
    say(out(), *_warnings(found), *([_binding(after)] if after.is_binding != before.is_binding else ()))


def pause(name: Name, why: MaybeWhy = None, as_json: AsJson = False) -> None:
    """Have a budget stop no call for the time being. It counts on."""
    with books() as engine:
        budget = stamps.decide(
            engine, lambda conn: budgets.pause(conn, budgets.find(conn, name), now(), whoami(), why or "")
        )
    if as_json:
        put_json(budget_fields(budget))
        return
    end = shlex.join(["accounting", "budgets", "resume", budget.name])
    say(out(), printable(f"{budget.name} is paused: it stops no call, and counts on. To end that: {end}"))


def resume(name: Name, why: MaybeWhy = None, as_json: AsJson = False) -> None:
    """Have a paused budget stop calls again."""
    with books() as engine:
        budget = stamps.decide(
            engine, lambda conn: budgets.resume(conn, budgets.find(conn, name), now(), whoami(), why or "")
        )
    if as_json:
        put_json(budget_fields(budget))
    else:
        say(out(), printable(f"{budget.name} is in force again. {_binding(budget)}"))


def remove(name: Name, why: MaybeWhy = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Take a budget out of force for good. Its history stays, and its name is free again."""
    with books() as engine:
        with reading(engine) as conn:
            budget = budgets.find(conn, name)
        question = f"Remove {printable(budget.name)}, {_limit(budget)} on {printable(budget.told)}?"
        if not agreed(question, yes):
            say(out(), "Nothing was changed.")
            return
        budget = stamps.decide(engine, lambda conn: _removed(conn, name, why or ""))
    if as_json:
        put_json(budget_fields(budget))
        return
    history = shlex.join(["accounting", "budgets", "history", budget.name])
    say(out(), printable(f"Removed {budget.name}. What it was: {history}"))


def _removed(conn: Connection, name: str, why: str) -> Budget:
    budget = budgets.remove(conn, budgets.find(conn, name), now(), whoami(), why)
    reservations.forget(conn, budget)
    return budget


def agreed(question: str, yes: bool) -> bool:
    """Whether somebody wants it; raises `ConfigurationError` where nobody is there who could say."""
    if not yes and not asks():
        raise ConfigurationError(f"{question} Nobody is there to answer: nothing was changed. To do it, add --yes")
    return yes or confirmed(question)


def _figures(engine: Engine, budget: Budget) -> Figures:
    with reading(engine) as conn:
        return budget_figures.figures(conn, budget, now())


def _limit(budget: Budget) -> str:
    return in_currency(budget.terms.limit, budget)


def in_currency(value: Decimal, budget: Budget) -> str:
    """`12.5 CNY`."""
    return f"{amount(value)} {budget.currency}"


def _left(found: Figures) -> str:
    state, budget = found.standing.state, found.standing.budget
    if state.remaining < 0:
        return f"that is {in_currency(EXACT.minus(state.remaining), budget)} more than the limit"
    return f"{in_currency(state.remaining, budget)} is left"


def _binding(budget: Budget) -> str:
    if budget.is_binding:
        return "Running programs obey within 5 seconds."
    edit = shlex.join(["accounting", "budgets", "edit", budget.name, "--hard"])
    return printable(f"It stops no call. To have it: {edit}")


def _warnings(found: Figures) -> list[str]:
    """What may keep the budget from doing what was meant."""
    standing = found.standing
    budget, period, told = standing.budget, standing.period, []
    if not found.has_calls and budget.scope.kind in _TYPED:
        told.append(f"No call of the last {LOOKED_BACK} days was on {budget.told}: is that its name?")
    if period.unpriced:
        calls = counted(period.unpriced, "call")
        told.append(f"Not in it: {calls} without a rate{IN_REPORTS}. To add one: accounting rates add")
    if period.foreign_calls:
        calls, edit = counted(period.foreign_calls, "call"), f"accounting budgets edit {shlex.quote(budget.name)}"
        told.append(
            f"Not in it: {calls} in another currency. To say what that is in {budget.currency}: {edit} --fx CODE=RATE"
        )
    return [*map(printable, told + refused_in_words(found))]


_TYPED = frozenset({Kind.MODEL, Kind.PROVIDER, Kind.USER, Kind.TAG})
"""What somebody may have mistyped: a project or a key is one that the books have."""


def _only(subjects: Mapping[str, str | None]) -> tuple[str, str]:
    said = [(option, text) for option, text in subjects.items() if text is not None]
    if len(said) == 1:
        return said[0]
    found = " and ".join(option for option, _ in said) or "nothing"
    raise ConfigurationError(f"A budget is on one thing, found {found}; expected one of {', '.join(subjects)}.")


def _scope(conn: Connection, option: str, text: str) -> Scope:
    match option:
        case "--project":
            return Scope(Kind.PROJECT, projects.find(conn, text).id)
        case "--key":
            return Scope(Kind.KEY, keys.find(conn, text).id)
        case "--tag":
            name, equals, value = text.partition("=")
            if not equals or not name.strip():
                raise ConfigurationError(f"--tag {text!r} is no tag with its value; expected one like feature=chat.")
            return Scope(Kind.TAG, name=name.strip(), value=value)
        case "--everything":
            return Scope(Kind.ALL)
        case _:
            return Scope(Kind(option.removeprefix("--")), name=text.strip())


def _cycle(text: str, since: str | None, today: date) -> Cycle:
    first = None if since is None else day(since)
    said = text.strip().lower()
    if so_many := _SO_MANY_DAYS.fullmatch(said):
        return Cycle(Every.DAYS, int(so_many[1]), first or today)
    if said not in _EVERY:
        expected = ", ".join(_EVERY)
        raise ConfigurationError(f"--every {text!r} is no period; expected {expected}, or so many days, like 10d.")
    every = _EVERY[said]
    if first is not None and every is not Every.TOTAL:
        raise ConfigurationError(f"A {every} begins when it does; leave out --since, or take days: --every 30d")
    return Cycle(every, since=first)


def _today(conn: Connection, scope: Scope) -> date:
    return projects.calendar(conn).billed_on(scope.id if scope.kind is Kind.PROJECT else 0, now())


def _mode(soft: bool, hard: bool, strict: bool) -> Mode | None:
    said = [option for option, given in zip(_MODES, (soft, hard, strict), strict=True) if given]
    if len(said) > 1:
        raise ConfigurationError(f"{' and '.join(said)} contradict each other; leave out all but one.")
    return _MODES[said[0]] if said else None


def _usual(mode: Mode) -> WhenAway:
    return WhenAway.PASS if mode is Mode.SOFT else WhenAway.REFUSE


def _number(text: str, option: str) -> Decimal:
    try:
        return exact(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"{option} {text!r} is no number; expected one like 100 or 99.50.") from error


def _percents(text: str) -> tuple[Decimal, ...]:
    if text.strip() == "none":
        return ()
    return tuple(_number(each.strip().removesuffix("%"), "--threshold") for each in text.split(","))


def _most(text: str) -> int | None:
    return None if text.strip() == "none" else count(text, "--max-output")


def _exchange(known: Mapping[str, Decimal], said: Sequence[str]) -> dict[str, Decimal]:
    """What is known, with what is said in its place; `USD=none` takes one out, `none` all that were known."""
    new: dict[str, Decimal | None] = {}
    for text in said:
        if text.strip() == "none":
            known = {}
            continue
        code, equals, rate = text.partition("=")
        if not equals:
            raise ConfigurationError(f"--fx {text!r} is no exchange rate; expected one like USD=7.1, or none.")
        currency = money.currency(code.strip())
        if currency in new:
            raise ConfigurationError(f"--fx names {currency} twice; leave out all but one.")
        new[currency] = None if rate.strip() == "none" else _number(rate, f"--fx {currency}")
    return {code: rate for code, rate in {**known, **new}.items() if rate is not None}
