"""The rows of the spend tables that a report adds up: by subject, rate and source of usage."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Table

from accounting import keys, periods, projects
from accounting.contributions import ANOMALY, FIGURES, REFUSAL, STATED, TAG, USER
from accounting.rates import UNPRICED
from accounting.store import exact_total
from accounting.store.tables import spend_by_tag, spend_days, spend_quarters
from accounting.usage import UsageSource

IN_TIME = ("day", "month")
"""Groupings by the time of the calls; everything else groups by who or what."""

OF_SOME = (ANOMALY, REFUSAL)
"""Groupings of what few calls have: the others are in no line."""

_COLUMNS = {"key": "key_id", "project": "project_id"}
_RATED = ("rate_id", "usage_source")

Row = Mapping[str, Any]
"""`subject`, `rate_id`, `usage_source`, then the figures: all that cost and the warnings depend on."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose spend, by name: of these projects, of these keys; empty: of all.

    A project also goes by a name it had before; a key by its name, its last four or its fingerprint's start.
    """

    projects: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = (("project", self.projects), ("key", self.keys))
        return ", ".join(f"{what} {' and '.join(names)}" for what, names in named if names)


@dataclass(frozen=True, slots=True)
class Slice:
    """Days from `first`, included, to `end`, left out, of some projects and keys, by id; None: any.

    Days are the books' own, else the zone's.
    """

    first: date | None = None
    end: date | None = None
    zone: ZoneInfo | None = None
    projects: frozenset[int] | None = None
    keys: frozenset[int] | None = None

    @property
    def table(self) -> Table:
        return spend_days if self.zone is None else spend_quarters

    def of(self, table: Table) -> list[ColumnElement[bool]]:
        """What the rows of a spend table must meet. Its key begins with the time, so others are not read."""
        time = table.c.quarter if table is spend_quarters else table.c.billed_on
        bounds = [time >= self._start(self.first)] if self.first is not None else []
        bounds += [time < self._start(self.end)] if self.end is not None else []
        bounds += [table.c.project_id.in_(sorted(self.projects))] if self.projects is not None else []
        return bounds + ([table.c.key_id.in_(sorted(self.keys))] if self.keys is not None else [])

    def _start(self, day: date) -> date:
        return day if self.zone is None else periods.midnight(day, self.zone)


def sliced(conn: Connection, scope: Scope, first: date | None, end: date | None, zone: ZoneInfo | None) -> Slice:
    """The slice of a scope; raises `ConfigurationError` for a project or key that is not in the books."""
    paying = frozenset(projects.find(conn, name).id for name in scope.projects)
    calling = frozenset(keys.find(conn, text).id for text in scope.keys)
    return Slice(first, end, zone, paying or None, calling or None)


def rows(conn: Connection, by: str, part: Slice) -> list[Row]:
    """The slice by subject: an id, a name, a day, a quarter hour, or the value of a tag, None where untagged.

    By anomaly a call is in the rows of each of its own, and one without any in none; by refusal only refused ones are
    in any.
    """
    if by in OF_SOME:
        return _tagged(conn, by, part)
    if by == USER or by.startswith(TAG):
        return _by_tag(conn, by, part)
    table = part.table
    time = spend_days.c.billed_on if part.zone is None else spend_quarters.c.quarter
    return _summed(conn, table, time if by in IN_TIME else table.c[_COLUMNS.get(by, by)], part.of(table))


def everything(conn: Connection, part: Slice) -> list[Row]:
    """The slice as a whole, by nothing."""
    return _summed(conn, part.table, sa.null(), part.of(part.table))


def stated(conn: Connection, part: Slice) -> list[Row]:
    """What providers stated, by how it stands to ours: the subject is a `stated.Mark`, and `stated` their sum."""
    where = [spend_by_tag.c.tag == STATED, *part.of(spend_by_tag)]
    return _summed(conn, spend_by_tag, spend_by_tag.c.value, where, exact_total(spend_by_tag.c.stated).label("stated"))


def refused(conn: Connection, part: Slice) -> int | None:
    """How many calls budgets refused; None where the slice is of keys, or in a zone, by which nobody counts them."""
    if part.keys is not None or part.zone is not None:
        return None
    tag = spend_by_tag
    count = sa.select(sa.func.coalesce(sa.func.sum(tag.c.calls), 0)).where(tag.c.tag == REFUSAL, *part.of(tag))
    return int(conn.execute(count).scalar_one())


def unpriced(conn: Connection, part: Slice) -> Sequence[tuple[str, str, int]]:
    """Provider, model and number of the calls that used something and have no rate, the most calls first."""
    table = part.table
    group, count = (table.c.provider, table.c.model), sa.func.sum(table.c.calls + table.c.sub_calls)
    where = (table.c.rate_id == UNPRICED, table.c.usage_source != UsageSource.MISSING, table.c.model != "")
    chosen = sa.select(*group, count).where(*where, *part.of(table)).group_by(*group).order_by(count.desc(), *group)
    return [(provider, model, int(calls)) for provider, model, calls in conn.execute(chosen)]


def known_tags(conn: Connection) -> tuple[str, ...]:
    """The keys of all tags ever rolled up. One step of the index for each, as a tag has a row for every day."""
    tag = spend_by_tag.c.tag
    found = sa.select(sa.func.min(tag).label("tag")).cte("found", recursive=True)
    later = sa.select(sa.func.min(tag)).where(tag > found.c.tag).scalar_subquery()
    found = found.union_all(sa.select(later).where(found.c.tag.is_not(None)))
    every = conn.scalars(sa.select(found.c.tag).where(found.c.tag.is_not(None)))
    return tuple(name.removeprefix(TAG) for name in every if name.startswith(TAG))


def _by_tag(conn: Connection, by: str, part: Slice) -> list[Row]:
    """The tagged calls by value, and what is left of all calls without them.

    Subtracted by rate and source of usage, so that what the rest cost, and what it hides, is right too.
    """
    tagged = _tagged(conn, by, part)
    return [*tagged, *_without(everything(conn, part), tagged)]


def _tagged(conn: Connection, by: str, part: Slice) -> list[Row]:
    return _summed(conn, spend_by_tag, spend_by_tag.c.value, [spend_by_tag.c.tag == by, *part.of(spend_by_tag)])


def _without(whole: Iterable[Row], some: Iterable[Row]) -> list[Row]:
    left: dict[tuple[Any, ...], list[int]] = {}
    for sign, each in ((1, whole), (-1, some)):
        for row in each:
            sums = left.setdefault(tuple(row[name] for name in _RATED), [0] * len(FIGURES))
            sums[:] = (so_far + sign * row[name] for so_far, name in zip(sums, FIGURES, strict=True))
    return [
        {"subject": None, **dict(zip(_RATED, rated, strict=True)), **dict(zip(FIGURES, sums, strict=True))}
        for rated, sums in left.items()
        if any(sums)
    ]


def _summed(
    conn: Connection, table: Table, subject: Any, where: list[ColumnElement[bool]], *beside: ColumnElement[Any]
) -> list[Row]:
    # PostgreSQL refuses to group by a constant.
    group = [table.c[name] for name in _RATED] + ([subject] if isinstance(subject, sa.Column) else [])
    sums = (sa.func.sum(table.c[name]).label(name) for name in FIGURES)
    chosen = sa.select(subject.label("subject"), *(table.c[name] for name in _RATED), *sums, *beside)
    found = conn.execute(chosen.where(*where).group_by(*group)).mappings()
    # PostgreSQL sums BIGINT as NUMERIC.
    return [{**row, **{name: int(row[name]) for name in FIGURES}} for row in found]
