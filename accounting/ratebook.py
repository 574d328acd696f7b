"""The rates in the books: loaded from cards, never edited."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from accounting.rates import UNPRICED, Rate, RateBook
from accounting.store import Lock, hold, ratelines
from accounting.store.ratelines import shipped

__all__ = ["Loaded", "book", "load", "rates", "shipped"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading a card did, in lines."""

    added: int
    unchanged: int


def load(conn: Connection, lines: Iterable[Rate], now: datetime) -> Loaded:
    """Add the lines that are not there yet: all of them or, raising `RateCardError`, none.

    A line whose prices and validity are in the books already is left as it is, also where its card names
    another source by now: cards are appended to, and their heading then speaks of the newest lines.
    """
    # Two cards that contradict each other, loaded at once, would each find the books without the other's lines.
    hold(conn, Lock.INGEST)
    lines = list(lines)
    held = ratelines.read(conn, withdrawn=False)
    known = {_content(rate) for rate in held}
    fresh = list({_content(line): line for line in lines if _content(line) not in known}.values())
    RateBook([*held, *fresh])
    ratelines.append(conn, fresh, now)
    return Loaded(added=len(fresh), unchanged=len(lines) - len(fresh))


def rates(conn: Connection) -> list[Rate]:
    """Every line ever loaded, as what was priced by a withdrawn one still names it."""
    return ratelines.read(conn, withdrawn=True)


def book(conn: Connection, models: Collection[tuple[str, str]] | None = None) -> RateBook:
    """The lines that price calls from now on: all, or those of some providers' models."""
    return RateBook(ratelines.read(conn, withdrawn=False) if models is None else ratelines.of_models(conn, models))


def _content(rate: Rate) -> Rate:
    return replace(rate, id=UNPRICED, source="")
