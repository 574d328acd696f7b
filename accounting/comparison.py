"""What providers stated that calls cost beside what these cost by our rates, by model.

Read from the sums that are kept by how the two stand to each other (see `stated`), so it takes no longer for a billion
calls than for a thousand.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_FLOOR, Context, Decimal
from functools import reduce

from sqlalchemy import Connection

from accounting import ratebook, spend_rows
from accounting.contributions import COUNTS
from accounting.errors import ConfigurationError
from accounting.money import EXACT, ZERO
from accounting.rates import Rate, price
from accounting.sources import Completeness, complete_until
from accounting.spend_rows import Row, Scope, sliced
from accounting.stated import Mark, StatedAs, marked
from accounting.usage import COUNTED, Quantities

EXPLAINED = (StatedAs.ROUNDING, StatedAs.BYOK, StatedAs.BYOK_UNCHECKED, StatedAs.TOOLS, StatedAs.PARTIAL_USAGE)
"""Where the two differ and the reason is known."""

NOT_COMPARED = (StatedAs.UNPRICED, StatedAs.OTHER_CURRENCY)
"""Where ours is unknown, or no amount to set beside theirs; unknown is not zero, so these are in no difference."""

_DIGITS = Context(prec=60, rounding=ROUND_FLOOR)
_TENTH_OF_A_PERCENT = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Part:
    """Calls that stand alike: what they cost by our rates and what providers stated, in one currency.

    Of those that are not compared `ours` is nothing.
    """

    calls: int = 0
    ours: Decimal = ZERO
    stated: Decimal = ZERO

    @property
    def difference(self) -> Decimal:
        """By how much what was stated is more."""
        return EXACT.subtract(self.stated, self.ours)

    def __add__(self, other: "Part") -> "Part":
        return Part(self.calls + other.calls, EXACT.add(self.ours, other.ours), EXACT.add(self.stated, other.stated))


_NOTHING = Part()


@dataclass(frozen=True, slots=True)
class Line:
    """One model's calls whose provider stated a cost in the currency, by how it stands to ours; or all models' calls.

    `explained` and `unexplained` are what the two differ by, without signs: what one model or one reason is over does
    not make up for what another is under. Within one reason of one model it does, as only sums are kept: pluses and
    minuses of rounding even out. Of a caller's own key it is the fee that ours is set beside.
    """

    provider: str
    model: str
    currency: str
    parts: Mapping[str, Part] = field(default_factory=dict)
    explained: Decimal = ZERO
    unexplained: Decimal = ZERO

    @property
    def calls(self) -> int:
        return sum(part.calls for part in self.parts.values())

    @property
    def compared(self) -> Part:
        return _sum(part for how, part in self.parts.items() if how not in NOT_COMPARED)

    @property
    def not_compared(self) -> Part:
        return _sum(self.part(how) for how in NOT_COMPARED)

    @property
    def share_explained(self) -> Decimal | None:
        """From 0 to 1, in thousandths, 1 only where nothing is left; None where nothing differs or all evens out."""
        apart = EXACT.add(self.explained, self.unexplained)
        if not apart:
            return None
        return _DIGITS.quantize(_DIGITS.divide(self.explained, apart), _TENTH_OF_A_PERCENT)

    def part(self, how: str) -> Part:
        return self.parts.get(how, _NOTHING)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Lines, of which those come first that leave most unexplained, and a total for each currency, by its code.

    `calls` are all of the days and the scope, also those whose provider states no cost; sub-calls count.
    """

    lines: tuple[Line, ...]
    totals: tuple[Line, ...]
    calls: int
    completeness: Completeness
    scope: Scope


def compare(conn: Connection, first: date | None, end: date | None, scope: Scope, *, now: datetime) -> Comparison:
    """Of the books' own days from `first`, included, to `end`, left out (None: open).

    Raises `ConfigurationError` for a scope by key: these sums are kept by project.
    """
    if scope.keys:
        raise ConfigurationError("What providers state is kept by project, not by key: leave out --key.")
    part = sliced(conn, scope, first, end, None)
    rates = {rate.id: rate for rate in ratebook.rates(conn)}
    lines = _lines(spend_rows.stated(conn, part), rates)
    every = spend_rows.everything(conn, part)
    return Comparison(
        lines=tuple(sorted(lines, key=_order)),
        totals=tuple(_totals(lines)),
        calls=sum(_calls(row) for row in every),
        completeness=complete_until(conn, now),
        scope=scope,
    )


def _order(line: Line) -> tuple[Decimal, Decimal, str, str, str]:
    return line.unexplained.copy_negate(), line.compared.stated.copy_negate(), line.model, line.provider, line.currency


def _lines(rows: Iterable[Row], rates: Mapping[int, Rate]) -> list[Line]:
    found: dict[tuple[str, str, str], dict[str, Part]] = {}
    for row in rows:
        mark = marked(row["subject"])
        how, part = _part(row, mark, rates.get(row["rate_id"]))
        parts = found.setdefault((mark.provider, mark.model, mark.currency), {})
        parts[how] = parts.get(how, _NOTHING) + part
    return [_line(*names, parts) for names, parts in found.items()]


def _line(provider: str, model: str, currency: str, parts: Mapping[str, Part]) -> Line:
    explained = _apart(parts, lambda how: how in EXPLAINED)
    unexplained = _apart(parts, lambda how: how not in (*EXPLAINED, *NOT_COMPARED))
    return Line(provider, model, currency, parts, explained, unexplained)


def _apart(parts: Mapping[str, Part], of: Callable[[str], bool]) -> Decimal:
    return reduce(EXACT.add, (part.difference.copy_abs() for how, part in parts.items() if of(how)), ZERO)


def _part(row: Row, mark: Mark, rate: Rate | None) -> tuple[str, Part]:
    """How the row's calls stand, as marked, where there is something of ours to compare at all."""
    stated = row["stated"] or ZERO
    if rate is None or rate.currency != mark.currency:
        return (StatedAs.UNPRICED if rate is None else StatedAs.OTHER_CURRENCY), Part(_calls(row), stated=stated)
    ours = price(Quantities(*(row[name] for name in COUNTED)), rate).amount
    return mark.stated_as, Part(_calls(row), ours, stated)


def _calls(row: Row) -> int:
    """With other models' calls inside of calls, which have costs of their own."""
    return int(row[COUNTS[0]] + row["sub_calls"])


def _totals(lines: Iterable[Line]) -> list[Line]:
    by_currency: dict[str, list[Line]] = {}
    for line in lines:
        by_currency.setdefault(line.currency, []).append(line)
    return [_total(code, some) for code, some in sorted(by_currency.items())]


def _total(currency: str, lines: list[Line]) -> Line:
    names = {how: None for line in lines for how in line.parts}
    return Line(
        provider="",
        model="",
        currency=currency,
        parts={how: _sum(line.part(how) for line in lines) for how in names},
        explained=reduce(EXACT.add, (line.explained for line in lines), ZERO),
        unexplained=reduce(EXACT.add, (line.unexplained for line in lines), ZERO),
    )


def _sum(parts: Iterable[Part]) -> Part:
    return reduce(Part.__add__, parts, _NOTHING)
