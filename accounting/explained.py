"""Why a call has the rate that it has: each line that is for its model, and why it was taken or was not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from accounting import patterns
from accounting.aliases import Aliases, Named, Rule
from accounting.nearness import near
from accounting.periods import moment
from accounting.rates import ANY_TIER, STANDARD, Rate
from accounting.resolution import Considered, RateBook
from accounting.store.ratelines import Line
from accounting.store.withdrawals import by_whom

_NEAR = 3
"""So many names that are like the one asked for are told at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, as far as its rate depends on it; its tier as `rates.tier_of` tells it."""

    provider: str
    model: str
    at: datetime
    input_tokens: int = 0
    service_tier: str = STANDARD


@dataclass(frozen=True, slots=True)
class Passed:
    """A line that is for the model and was not taken."""

    line: Considered
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """What may have been meant, where no line is for the model: providers only where the one asked for has no line."""

    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Providers that have a line for it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`names` are those it was looked for under; by the rule `kept` there are none, as its own has its own price.

    Of the lines that were `passed`, those that are taken before others come first, and withdrawn ones last.
    """

    asked: Asked
    taken: Considered | None
    passed: tuple[Passed, ...]
    names: tuple[Named, ...]
    kept: Rule | None
    near: Near


def explained(book: RateBook, aliases: Aliases, asked: Asked, withdrawn: Iterable[Line] = ()) -> Explanation:
    """What `book.find` finds, and why. The aliases are those of the book; `withdrawn` may be lines of any model."""
    considered = _each_once(book.considered(asked.provider, asked.model))
    names = tuple(aliases.names(asked.provider, asked.model))
    taken = next((one for one in considered if _holds(one.rate, asked)), None)
    passed = [Passed(one, tuple(_reasons(one, taken, asked))) for one in considered if one is not taken]
    gone = list(_withdrawn(withdrawn, asked, ((asked.model, ()), *names)))
    return Explanation(
        asked=asked,
        taken=taken,
        passed=(*passed, *gone),
        names=names,
        kept=aliases.kept(asked.provider, asked.model),
        near=Near() if considered else _near(book, asked, [name for name, _ in names]),
    )


def _each_once(considered: Iterable[Considered]) -> list[Considered]:
    """Where a pattern fits several names of a model, its line stands under the nearest."""
    first: dict[int, Considered] = {}
    for one in considered:
        first.setdefault(id(one.rate), one)
    return list(first.values())


def _holds(rate: Rate, asked: Asked) -> bool:
    return rate.holds(asked.at, asked.input_tokens, asked.service_tier)


def _reasons(one: Considered, taken: Considered | None, asked: Asked) -> Iterator[str]:
    if taken is not None and _holds(one.rate, asked):
        yield f"{_called(taken.rate)} goes first: {_precedence(taken, one)}"
        return
    yield from _unmet(one.rate, asked)


def _called(rate: Rate) -> str:
    return f"line {rate.id}" if rate.id else str(rate)


def _unmet(rate: Rate, asked: Asked) -> Iterator[str]:
    """What of its conditions the call does not meet."""
    if asked.at < rate.valid_from:
        yield f"begins {moment(rate.valid_from)}"
    if rate.period.end is not None and asked.at >= rate.period.end:
        yield f"ended {moment(rate.period.end)}"
    if rate.service_tier not in (ANY_TIER, asked.service_tier):
        yield f"is for the {rate.service_tier or 'standard'} tier, not the {asked.service_tier or 'standard'} one"
    if rate.context_above and asked.input_tokens <= rate.context_above:
        yield f"is for more than {rate.context_above:,} input tokens, not {asked.input_tokens:,}"
    if rate.hours is not None and asked.at not in rate.hours:
        yield f"is for {rate.hours}, and it was {rate.hours.local(asked.at):%a %H:%M}"


def _precedence(taken: Considered, other: Considered) -> str:
    """Why the one goes before the other, though both hold; the rule is `resolution`'s."""
    mine, its = taken.rate, other.rate
    if why := _nearer(taken, other):
        return why
    if mine.service_tier != its.service_tier:
        return "it names the service tier"
    if mine.valid_from != its.valid_from:
        return f"it is newer, from {moment(mine.valid_from)}"
    return "it is for certain hours" if mine.hours and not its.hours else "it is for more input"


def _nearer(taken: Considered, other: Considered) -> str:
    """Why by the names alone; empty where these are of one rank."""
    mine, its = taken.rate.model, other.rate.model
    if patterns.is_pattern(its) and not patterns.is_pattern(mine):
        return "it has a name, not a pattern"
    if patterns.is_pattern(mine) and patterns.literals(mine) != patterns.literals(its):
        return "its pattern says more of the name"
    if taken.name == other.name:
        return ""
    return "it is for a nearer name" if taken.rules else "it is for the name that was called"


def _withdrawn(lines: Iterable[Line], asked: Asked, names: Sequence[Named]) -> Iterator[Passed]:
    for line in lines:
        rate = line.rate
        named = next(((name, rules) for name, rules in names if patterns.fits(rate.model, name)), None)
        if rate.provider == asked.provider and named is not None:
            yield Passed(Considered(rate, *named), (_withdrawal(line),))


def _withdrawal(line: Line) -> str:
    at = moment(line.withdrawn_at.replace(microsecond=0)) if line.withdrawn_at else ""
    return f"was withdrawn {at}{by_whom(line.withdrawn_by, line.withdrawn_why)}"


def _near(book: RateBook, asked: Asked, names: Sequence[str]) -> Near:
    models = sorted({rate.model for rate in book if rate.provider == asked.provider})
    others = [each for each in book.providers if each != asked.provider]
    return Near(
        providers=() if models else tuple(near(asked.provider, others)),
        models=_alike([asked.model, *names], models),
        elsewhere=tuple(each for each in others if next(book.considered(each, asked.model), None)),
    )


def _alike(names: Iterable[str], models: Iterable[str]) -> tuple[str, ...]:
    """The models that are called nearly like one of the names, with or without the vendor."""
    called: dict[str, list[str]] = {}
    for model in models:
        for name in {model, _bare(model)}:
            called.setdefault(name, []).append(model)
    asked = dict.fromkeys(name for each in names for name in (each, _bare(each)))
    found = [model for name in asked for like in near(name, called) for model in called[like]]
    return tuple(dict.fromkeys(found))[:_NEAR]


def _bare(model: str) -> str:
    return model.rpartition("/")[2]
