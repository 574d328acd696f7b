"""The rates in the books: loaded from cards, never edited. A wrong line is withdrawn, and a right one appended."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.errors import RateCardError
from accounting.periods import Period, moment
from accounting.rates import UNPRICED, Rate
from accounting.resolution import RateBook
from accounting.store import Lock, aliaslines, hold, ratelines
from accounting.store.ratelines import Line
from accounting.store.tables import store
from accounting.store.withdrawals import refuse_gone

__all__ = [
    "Line",
    "Loaded",
    "add",
    "book",
    "edition",
    "end",
    "ended",
    "fresh",
    "in_force",
    "lines",
    "load",
    "new_edition",
    "rates",
    "same",
    "withdraw",
]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading a card did, in lines; `lines` are the added ones, with their ids."""

    added: int
    unchanged: int
    lines: tuple[Rate, ...] = field(default=(), compare=False)


def load(conn: Connection, lines: Iterable[Rate], now: datetime, by: str = "", why: str = "") -> Loaded:
    """Add the lines that are not there yet: all of them or, raising `RateCardError`, none.

    A line whose prices and validity are in the books already is left as it is, also where its card names
    another source by now: cards are appended to, and their heading then speaks of the newest lines.
    """
    # Two cards that contradict each other, loaded at once, would each find the books without the other's lines.
    hold(conn, Lock.INGEST)
    lines = list(lines)
    held = _beside(conn, lines)
    new = fresh(lines, held)
    RateBook([*held, *new])
    added = ratelines.append(conn, new, now, by, why)
    if added:
        new_edition(conn)
    return Loaded(added=len(added), unchanged=len(lines) - len(added), lines=tuple(added))


def _beside(conn: Connection, lines: Collection[Rate]) -> list[Rate]:
    """All lines in force that these could be among, or contradict: not the whole book, while no call can come in."""
    models = {(line.provider, line.model) for line in lines}
    if len(models) <= _FEW:
        return ratelines.of_models(conn, models)
    return ratelines.read(conn, withdrawn=False, providers={provider for provider, _ in models})


_FEW = 500
"""So many models are asked for by name: databases take some thousands of parameters."""


def fresh(lines: Iterable[Rate], held: Iterable[Rate]) -> list[Rate]:
    """Those, each once, that say something that none of the held ones says: by prices, conditions and validity."""
    known = {_content(rate) for rate in held}
    return list({_content(line): line for line in lines if _content(line) not in known}.values())


def add(conn: Connection, line: Rate, now: datetime, by: str, why: str = "") -> Rate:
    """Append one line, and return it with its id; raises `RateCardError` where it is in the books already."""
    loaded = load(conn, [line], now, by, why)
    if not loaded.lines:
        raise RateCardError(f"{line} is in the books already, with these prices. Nothing was added.")
    return loaded.lines[0]


def same(conn: Connection, line: Rate) -> Rate | None:
    """The line in the books that says what this one says."""
    return next((rate for rate in _beside(conn, [line]) if _content(rate) == _content(line)), None)


def withdraw(conn: Connection, ids: Collection[int], now: datetime, by: str, why: str) -> list[Rate]:
    """Have these lines price no call from now on; they stay in the books, as calls name them. Returns them.

    All of them or, raising `RateCardError`, none. What is left can't contradict itself where the books did not.
    """
    hold(conn, Lock.INGEST)
    found = in_force(conn, ids)
    ratelines.withdraw(conn, [rate.id for rate in found], now, by, why)
    if found:
        new_edition(conn)
    return found


def end(conn: Connection, id_: int, at: datetime, now: datetime, by: str, why: str) -> Rate:
    """Have a line hold until the instant only; returns the line that says so, which is appended in its place.

    Calls before then cost the same by it when they are priced again.
    """
    hold(conn, Lock.INGEST)
    (rate,) = in_force(conn, [id_])
    instead = ended(rate, at)
    withdraw(conn, [id_], now, by, why)
    return add(conn, instead, now, by, why)


def ended(rate: Rate, at: datetime) -> Rate:
    """The line that says what the rate says, until the instant; raises `RateCardError` where it ends by itself."""
    _refuse_end(rate, at)
    return replace(rate, id=UNPRICED, period=Period(rate.period.start, at))


def in_force(conn: Connection, ids: Collection[int]) -> list[Rate]:
    """The lines of these ids; raises where one is not there, or withdrawn."""
    found = {line.rate.id: line for line in ratelines.lines(conn, ids=ids)}
    refuse_gone(found, ids, "rate", "accounting rates list")
    return [line.rate for line in found.values()]


def _refuse_end(rate: Rate, at: datetime) -> None:
    if at <= rate.valid_from:
        raise RateCardError(
            f"Rate {rate.id}, {rate}, can't end at {moment(at)}: it begins no earlier. Give a later time, or "
            f"withdraw it: accounting rates withdraw {rate.id} --why …"
        )
    if rate.period.end is not None and at >= rate.period.end:
        raise RateCardError(
            f"Rate {rate.id}, {rate}, has an end that is no later than {moment(at)}. Give an earlier time; to "
            "have it hold longer, withdraw it and add it anew: accounting rates withdraw, accounting rates add"
        )


def lines(conn: Connection, *, withdrawn: bool) -> list[Line]:
    """The lines with who loaded and withdrew them, in the order they were loaded."""
    return [line for line in ratelines.lines(conn) if withdrawn or line.withdrawn_at is None]


def rates(conn: Connection) -> list[Rate]:
    """Every line ever loaded, as what was priced by a withdrawn one still names it."""
    return ratelines.read(conn, withdrawn=True)


def book(conn: Connection, models: Collection[tuple[str, str]] | None = None) -> RateBook:
    """What prices calls from now on: all lines, or those for some providers' models, whatever name they give them."""
    aliases = aliaslines.in_force(conn)
    if models is None:
        return RateBook(ratelines.read(conn, withdrawn=False), aliases)
    names = {(provider, name) for provider, model in models for name, _ in aliases.names(provider, model)}
    return RateBook(ratelines.of_models(conn, names | {*models}), aliases)


def edition(conn: Connection) -> int:
    """Another one whenever lines or aliases were added or withdrawn."""
    return int(conn.scalar(sa.select(store.c.rates_edition)) or 0)


def new_edition(conn: Connection) -> None:
    """Say that calls may be priced otherwise from now on: after lines or aliases were added or withdrawn."""
    conn.execute(sa.update(store).values(rates_edition=store.c.rates_edition + 1))


def _content(rate: Rate) -> Rate:
    return replace(rate, id=UNPRICED, source="")
