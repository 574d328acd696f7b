"""Rate lines as rows, and the ones that ship with the program."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import hours
from accounting.patterns import ANY
from accounting.periods import Period
from accounting.rates import PRICES, Rate
from accounting.store import withdrawals
from accounting.store.tables import rates


@dataclass(frozen=True, slots=True)
class Line:
    """A rate as it stands in the books: who loaded it, when and why, and who withdrew it."""

    rate: Rate
    loaded_at: datetime
    loaded_by: str
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawn_why: str | None
    loaded_why: str = ""

    def __str__(self) -> str:
        return str(self.rate)


def append(conn: Connection, lines: Iterable[Rate], now: datetime, by: str = "", why: str = "") -> list[Rate]:
    """Write lines down, and return them with their ids. Whether they agree with those there is the caller's to know."""
    new = list(lines)
    if not new:
        return []
    inserted = sa.insert(rates).returning(rates.c.id, sort_by_parameter_order=True)
    ids = conn.scalars(inserted, [_row(line, now) | {"loaded_by": by, "loaded_why": why} for line in new])
    return [replace(line, id=id_) for line, id_ in zip(new, ids, strict=True)]


def withdraw(conn: Connection, ids: Iterable[int], now: datetime, by: str, why: str) -> None:
    """Note that these lines hold no more. Whether they did is the caller's to know."""
    withdrawals.withdraw(conn, rates, ids, now, by, why)


def lines(conn: Connection, ids: Collection[int] | None = None) -> list[Line]:
    """All lines, or these, as they stand in the books: in the order they were loaded."""
    query = sa.select(rates).order_by(rates.c.id)
    if ids is not None:
        query = query.where(rates.c.id.in_(ids))
    return [Line(_rate(row), *(row[name] for name in _HOW)) for row in conn.execute(query).mappings()]


_HOW = ("loaded_at", "loaded_by", *withdrawals.COLUMNS, "loaded_why")


def read(
    conn: Connection, *, withdrawn: bool, providers: Collection[str] | None = None, ids: Collection[int] | None = None
) -> list[Rate]:
    """The lines in the books, in the order they were loaded; with those withdrawn since, or without."""
    query = sa.select(rates).order_by(rates.c.id)
    if not withdrawn:
        query = query.where(rates.c.withdrawn_at.is_(None))
    if providers is not None:
        query = query.where(rates.c.provider.in_(providers))
    if ids is not None:
        query = query.where(rates.c.id.in_(ids))
    return [_rate(row) for row in conn.execute(query).mappings()]


def of_models(conn: Connection, models: Collection[tuple[str, str]]) -> list[Rate]:
    """The lines in the books, not withdrawn, of these providers' models, and their patterns: there may be thousands."""
    named = {"providers": list({provider for provider, _ in models}), "models": list({model for _, model in models})}
    return [_rate(row) for row in conn.execute(_OF_MODELS, named).mappings()]


_OF_MODELS = (
    sa.select(rates)
    .where(
        rates.c.withdrawn_at.is_(None),
        rates.c.provider.in_(sa.bindparam("providers", expanding=True)),
        rates.c.model.in_(sa.bindparam("models", expanding=True)) | rates.c.model.contains(ANY),
    )
    .order_by(rates.c.id)
)


def _row(rate: Rate, now: datetime) -> dict[str, object]:
    return {
        "provider": rate.provider,
        "model": rate.model,
        "currency": rate.currency,
        "valid_from": rate.valid_from,
        "valid_until": rate.period.end,
        "service_tier": rate.service_tier,
        "context_above": rate.context_above,
        "hours": str(rate.hours or ""),
        "source": rate.source,
        "loaded_at": now,
        **{name: getattr(rate, name) for name in PRICES},
    }


def _rate(row: sa.RowMapping) -> Rate:
    return Rate(
        id=row["id"],
        provider=row["provider"],
        model=row["model"],
        currency=row["currency"],
        period=Period(row["valid_from"], row["valid_until"]),
        service_tier=row["service_tier"],
        context_above=row["context_above"],
        hours=hours.kept(row["hours"]) if row["hours"] else None,
        source=row["source"],
        **{name: row[name] for name in PRICES},
    )
