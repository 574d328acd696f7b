"""The rates in the books: loaded from cards, never edited."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.aliases import Aliases
from accounting.rates import UNPRICED, Rate
from accounting.resolution import RateBook
from accounting.store import Lock, aliaslines, hold, ratelines
from accounting.store.ratelines import shipped
from accounting.store.tables import store

__all__ = ["Loaded", "book", "load", "new_edition", "rates", "shipped"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading a card did, in lines."""

    added: int
    unchanged: int


def load(conn: Connection, lines: Iterable[Rate], now: datetime, by: str = "") -> Loaded:
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
    ratelines.append(conn, fresh, now, by)
    if fresh:
        new_edition(conn)
    return Loaded(added=len(fresh), unchanged=len(lines) - len(fresh))


def rates(conn: Connection) -> list[Rate]:
    """Every line ever loaded, as what was priced by a withdrawn one still names it."""
    return ratelines.read(conn, withdrawn=True)


def book(conn: Connection, models: Collection[tuple[str, str]] | None = None) -> RateBook:
    """What prices calls from now on: all lines, or those for some providers' models, whatever name they give them."""
    aliases = Aliases(aliaslines.read(conn, withdrawn=False))
    if models is None:
        return RateBook(ratelines.read(conn, withdrawn=False), aliases)
    names = {(provider, name) for provider, model in models for name, _ in aliases.names(provider, model)}
    return RateBook(ratelines.of_models(conn, names | {*models}), aliases)


def new_edition(conn: Connection) -> None:
    """Say that calls may be priced otherwise from now on: after lines or aliases were added or withdrawn."""
    conn.execute(sa.update(store).values(rates_edition=store.c.rates_edition + 1))


def _content(rate: Rate) -> Rate:
    return replace(rate, id=UNPRICED, source="")
