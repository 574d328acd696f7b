"""What a change of the rate book would do, before it is made: the lines, the calls they touch, and what looks wrong."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from accounting import pricelists, ratebook, ratechecks
from accounting.patterns import is_pattern
from accounting.pricelists import Replaced, Staying, asks_no_more
from accounting.ratechecks import Suspicion
from accounting.rates import Rate
from accounting.touched import Touched, priced_by, touched


@dataclass(frozen=True, slots=True)
class Change:
    """Lines to add and to withdraw; `unchanged` more were to be added, and are there already.

    `touched` are calls in the books that would be priced otherwise. For calls that begin now and meet the
    conditions of the lines of `ending` there would be no other rate, but maybe one with more conditions.
    """

    added: tuple[Rate, ...] = ()
    unchanged: int = 0
    withdrawn: tuple[Rate, ...] = ()
    touched: Touched = field(default_factory=Touched)
    suspicious: tuple[Suspicion, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    staying: tuple[Staying, ...] = ()
    ending: tuple[Rate, ...] = ()


def loading(conn: Connection, lines: Iterable[Rate]) -> Change:
    """Of `ratebook.load`; raises `RateCardError` where that does."""
    lines = list(lines)
    held = [line.rate for line in ratebook.lines(conn, withdrawn=False)]
    new = ratebook.fresh(lines, held)
    return Change(
        added=tuple(new),
        unchanged=len(lines) - len(new),
        touched=touched(conn, new),
        suspicious=tuple(ratechecks.suspicious(new, held)),
        replaced=tuple(pricelists.replaced(new, held)),
        staying=tuple(pricelists.staying(new, held)),
    )


def withdrawing(conn: Connection, ids: Collection[int], now: datetime) -> Change:
    """Of `ratebook.withdraw`; raises `RateCardError` where that does."""
    lines = ratebook.in_force(conn, ids)
    ending = _ending(conn, lines, (), now)
    return Change(withdrawn=tuple(lines), touched=priced_by(conn, lines), ending=ending)


def ending(conn: Connection, id_: int, at: datetime, now: datetime) -> Change:
    """Of `ratebook.end`; raises `RateCardError` where that does."""
    (line,) = ratebook.in_force(conn, [id_])
    instead = ratebook.ended(line, at)
    return Change(
        added=(instead,),
        withdrawn=(line,),
        touched=priced_by(conn, [line], at),
        ending=_ending(conn, [line], [instead], now),
    )


def _ending(conn: Connection, lines: Sequence[Rate], instead: Sequence[Rate], now: datetime) -> tuple[Rate, ...]:
    """Of these lines those in whose place no other stands now; of patterns nobody knows for which calls one should."""
    gone = {line.id for line in lines}
    book = ratebook.book(conn, {(line.provider, line.model) for line in lines})

    def stands(line: Rate) -> bool:
        others = (one.rate for one in book.considered(line.provider, line.model) if one.rate.id not in gone)
        return any(now in rate.period and asks_no_more(rate, line) for rate in (*instead, *others))

    return tuple(line for line in lines if now in line.period and not is_pattern(line.model) and not stands(line))
