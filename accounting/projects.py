"""Projects, who pay: their names, the currency they are billed in, and whose days they are billed by."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import money, periods
from accounting.attribution import project_name
from accounting.errors import ConfigurationError
from accounting.periods import Days
from accounting.store import editions, insert
from accounting.store.tables import (
    batches,
    calls,
    former_project_names,
    project_zones,
    projects,
    spend_days,
    store,
)

UNASSIGNED = "unassigned"
"""The project of calls that nobody else pays for."""

FIRST_DAY = date(1970, 1, 1)
"""From this day on means always: no call is as old."""


@dataclass(frozen=True, slots=True)
class Project:
    """`former`: names it had, the latest first; `zones`: which zone from which day on, where it has one of its own."""

    id: int
    name: str
    first_seen_at: datetime
    currency: str | None = None
    former: tuple[str, ...] = ()
    zones: tuple[tuple[date, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Calendar:
    """On which day a call is billed: in its project's zone, else in that of the books."""

    books: Days
    own: Mapping[int, Days]

    def days(self, project_id: int) -> Days:
        return self.own.get(project_id, self.books)

    def billed_on(self, project_id: int, at: datetime) -> date:
        return self.days(project_id).of(at)


def calendar(conn: Connection) -> Calendar:
    """The days of all projects."""
    books = periods.zone(conn.execute(_BOOKS_ZONE).scalar_one())
    own = {project: _days(books, zones) for project, zones in _zones(conn).items()}
    return Calendar(Days(books), own)


def _days(books: ZoneInfo, zones: Sequence[tuple[date, str]]) -> Days:
    changes = [(first, periods.zone(name)) for first, name in zones]
    if changes[0][0] <= FIRST_DAY:
        return Days(changes[0][1], tuple(changes[1:]))
    return Days(books, tuple(changes))


def _zones(conn: Connection) -> dict[int, list[tuple[date, str]]]:
    found: dict[int, list[tuple[date, str]]] = {}
    for row in conn.execute(_PROJECT_ZONES):
        found.setdefault(row.project_id, []).append((row.valid_from, row.zone))
    return found


# Made once, as each batch asks: putting a statement together takes longer than its answer.
_BOOKS_ZONE = sa.select(store.c.zone)
_PROJECT_ZONES = sa.select(project_zones).order_by(project_zones.c.project_id, project_zones.c.valid_from)


def project_ids(conn: Connection, names: Iterable[str], now: datetime) -> dict[str, int]:
    """The id of each project by its name, or by one it had; new ones are added."""
    wanted = set(names)
    found = _found(conn, wanted)
    if missing := sorted(wanted - found.keys()):
        # In the order of their names, so that two transactions that add the same ones can't deadlock.
        rows = [{"name": name, "first_seen_at": now} for name in missing]
        conn.execute(insert(conn, projects).on_conflict_do_nothing(), rows)
        found |= _found(conn, missing)
    return found


def _found(conn: Connection, names: Iterable[str]) -> dict[str, int]:
    return {row[0]: row[1] for row in conn.execute(_IDS, {"names": list(names)})}


_IDS = sa.union_all(
    sa.select(projects.c.name, projects.c.id).where(projects.c.name.in_(sa.bindparam("names", expanding=True))),
    sa.select(former_project_names.c.name, former_project_names.c.project_id).where(
        former_project_names.c.name.in_(sa.bindparam("names", expanding=True))
    ),
)


def known(conn: Connection) -> list[Project]:
    """All projects, by name."""
    former = _former(conn)
    zones = _zones(conn)
    return [
        Project(
            row.id,
            row.name,
            row.first_seen_at,
            row.currency,
            tuple(former.get(row.id, ())),
            tuple(zones.get(row.id, ())),
        )
        for row in conn.execute(sa.select(projects).order_by(projects.c.name))
    ]


def _former(conn: Connection) -> dict[int, list[str]]:
    names = former_project_names
    found: dict[int, list[str]] = {}
    for row in conn.execute(sa.select(names).order_by(names.c.renamed_at.desc(), names.c.name)):
        found.setdefault(row.project_id, []).append(row.name)
    return found


def find(conn: Connection, name: str) -> Project:
    """The project of that name, present or former; raises `ConfigurationError` where there is none."""
    wanted, all_ = _cleaned(name), known(conn)
    for project in all_:
        if wanted == project.name or wanted in project.former:
            return project
    near = get_close_matches(wanted, [project.name for project in all_], n=3, cutoff=0.5)
    hint = f" Near it: {', '.join(near)}." if near else ""
    raise ConfigurationError(
        f"There is no project {wanted!r}.{hint} See accounting projects list, or make it: accounting projects create"
    )


def create(
    conn: Connection, name: str, now: datetime, who: str, *, zone: str | None = None, currency: str | None = None
) -> Project:
    """A new project, which has no calls yet."""
    wanted = _cleaned(name)
    _refuse_taken(conn, wanted, None)
    row = {"name": wanted, "first_seen_at": now, "currency": None if currency is None else money.currency(currency)}
    conn.execute(sa.insert(projects).values(row))
    made = find(conn, wanted)
    if zone is not None:
        _set_zone(conn, made, FIRST_DAY, periods.zone(zone).key, now, who)
    return find(conn, wanted)


def rename(conn: Connection, project: Project, name: str, now: datetime, who: str) -> Project:
    """The project under another name; programs that give the former one mean it still."""
    wanted = _cleaned(name)
    if wanted == project.name:
        return project
    if UNASSIGNED in (wanted, project.name):
        raise ConfigurationError(f"{UNASSIGNED!r} stays the name of calls that nobody else pays for; take another.")
    _refuse_taken(conn, wanted, project)
    former = former_project_names
    conn.execute(sa.delete(former).where(former.c.name == wanted))
    conn.execute(sa.update(projects).where(projects.c.id == project.id).values(name=wanted))
    row = {"name": project.name, "project_id": project.id, "renamed_at": now, "renamed_by": who}
    conn.execute(sa.insert(former).values(row))
    editions.budgets_changed(conn)
    return find(conn, wanted)


def bill_in(conn: Connection, project: Project, currency: str | None) -> None:
    """The currency the project is billed in; None: as spent."""
    code = None if currency is None else money.currency(currency)
    conn.execute(sa.update(projects).where(projects.c.id == project.id).values(currency=code))


def change_zone(conn: Connection, project: Project, zone: str, first: date | None, now: datetime, who: str) -> date:
    """Bill the project by the days of the zone from that day on, the first of a month; None: of the next month.

    Returns the day: `FIRST_DAY` for a project without calls, unless a month was asked for. Raises
    `ConfigurationError` for a month that has begun, as its calls have their days. To be done in `stamps.decide`.
    """
    name = periods.zone(zone).key
    if not _has_calls(conn, project):
        first = first or FIRST_DAY
        later = sa.delete(project_zones).where(project_zones.c.project_id == project.id)
        conn.execute(later if first == FIRST_DAY else later.where(project_zones.c.valid_from >= first))
    else:
        next_first = periods.next_month(calendar(conn).billed_on(project.id, now))
        first = first or next_first
        _refuse_begun(conn, project, first, next_first)
    _set_zone(conn, project, first, name, now, who)
    return first


def _refuse_begun(conn: Connection, project: Project, first: date, next_first: date) -> None:
    if first < next_first:
        raise ConfigurationError(
            f"{project.name} has calls, and {first:%Y-%m} has begun: its days stay as they are. "
            f"The first month that another zone can begin with is {next_first:%Y-%m}."
        )
    if _has_calls(conn, project, first):
        raise ConfigurationError(
            f"{project.name} has calls of {first} or later already, from a clock that is ahead. Take a later month."
        )


def _set_zone(conn: Connection, project: Project, first: date, zone: str, now: datetime, who: str) -> None:
    row = {"project_id": project.id, "valid_from": first, "zone": zone, "decided_at": now, "decided_by": who}
    statement = insert(conn, project_zones).values(row)
    decided = {name: statement.excluded[name] for name in ("zone", "decided_at", "decided_by")}
    keys = [project_zones.c.project_id, project_zones.c.valid_from]
    conn.execute(statement.on_conflict_do_update(index_elements=keys, set_=decided))
    editions.budgets_changed(conn)


def _has_calls(conn: Connection, project: Project, first: date = date.min) -> bool:
    """Whether the books hold calls of the project of days from the first on.

    Read from spend, and from the calls that are not in it yet: all calls would be too many to look at.
    """
    waiting = sa.select(calls.c.id).join_from(batches, calls, calls.c.batch_id == batches.c.id)
    waiting = waiting.where(batches.c.rolled_at.is_(None), calls.c.project_id == project.id, calls.c.billed_on >= first)
    rolled = sa.select(spend_days.c.project_id).where(
        spend_days.c.project_id == project.id, spend_days.c.billed_on >= first
    )
    return bool(conn.execute(sa.select(sa.or_(sa.exists(waiting), sa.exists(rolled)))).scalar_one())


def _refuse_taken(conn: Connection, name: str, by: Project | None) -> None:
    for project in known(conn):
        if project.name == name:
            raise ConfigurationError(f"There is a project {name!r} already, since {project.first_seen_at:%Y-%m-%d}.")
        if name in project.former and (by is None or by.id != project.id):
            raise ConfigurationError(
                f"{name!r} was the name of {project.name!r}, and programs that still give it mean that project. "
                "Take another name."
            )


def _cleaned(name: str) -> str:
    return project_name(name) or ""
