"""A key goes to a project, from an instant on, and calls that are in the books already can follow it.

Only calls whose project came from their key, or from nobody, follow; those that a program attributed stay.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Engine

from accounting import keys, projects, stamps
from accounting.keys import Assignment, Key, Payers
from accounting.projects import UNASSIGNED, Project
from accounting.restate import Order, restate
from accounting.restated import Restated, Row
from accounting.stamps import BY_KEY
from accounting.store import reading
from accounting.store.tables import calls
from accounting.store.tables import projects as known_projects


@dataclass(frozen=True, slots=True)
class Handover:
    """What the project is to pay for: calls of the key that begin from `since` on and name no project."""

    key: Key
    project: Project
    since: datetime
    who: str
    why: str

    @property
    def assignment(self) -> Assignment:
        return Assignment(self.since, self.project.id, self.project.name)


def hand_over(engine: Engine, handover: Handover, now: datetime) -> None:
    """From here on calls are booked as the handover says; those in the books stay as they are."""

    def decide(conn: Connection) -> None:
        key = handover.key
        if _planned(conn, handover, now) != keys.payers(conn, [key.id]):  # else it is decided already
            keys.assign(conn, key, handover.assignment, now, handover.who, handover.why)

    stamps.decide(engine, decide)


def would_follow(
    engine: Engine,
    handover: Handover,
    clock: Callable[[], datetime],
    progress: Callable[[Restated], object] | None = None,
) -> Restated:
    """The calls in the books that `follow` would move after `hand_over`. Changes nothing."""
    with reading(engine) as conn:
        planned = _planned(conn, handover, clock())
    return _restate(engine, handover, "", lambda *_: planned, clock, dry_run=True, progress=progress)


def follow(
    engine: Engine,
    handover: Handover,
    clock: Callable[[], datetime],
    progress: Callable[[Restated], object] | None = None,
) -> Restated:
    """Move the calls in the books that began since then to the projects that their key is assigned to by now.

    One that was killed goes on when it is done again; one before which the key was moved elsewhere begins anew.
    """
    with reading(engine) as conn:
        decided_at = keys.decided_at(conn, handover.key, handover.since)
    return _restate(engine, handover, f"{decided_at}", keys.payers, clock, progress=progress)


def _restate(
    engine: Engine,
    handover: Handover,
    decided: str,
    payers: Callable[[Connection, list[int]], Payers],
    clock: Callable[[], datetime],
    *,
    dry_run: bool = False,
    progress: Callable[[Restated], object] | None = None,
) -> Restated:
    key = handover.key
    what = {
        "key": key.fingerprint,
        "project": handover.project.name,
        "since": handover.since.isoformat(),
        "decided": decided,
    }

    def change(conn: Connection, rows: Sequence[Row]) -> Mapping[UUID, Mapping[str, Any]]:
        return _rebooked(conn, rows, payers(conn, [key.id]))

    return restate(
        engine,
        Order("key-moved", what, handover.who, handover.why),
        _may_follow(key),
        change,
        clock,
        first=handover.since,
        dry_run=dry_run,
        progress=progress,
    )


def _may_follow(key: Key) -> ColumnElement[bool]:
    return sa.and_(calls.c.key_id == key.id, calls.c.project_source.in_(BY_KEY))


def _planned(conn: Connection, handover: Handover, now: datetime) -> Payers:
    id_ = handover.key.id
    return keys.payers(conn, [id_]).with_(id_, handover.assignment, now)


def _rebooked(conn: Connection, rows: Sequence[Row], payers: Payers) -> dict[UUID, dict[str, Any]]:
    """What the calls say of their project, and of their day, where these are the payers."""
    calendar, nobody = projects.calendar(conn), _nobody(conn)
    found: dict[UUID, dict[str, Any]] = {}
    for row in rows:
        payer = payers.at(row["key_id"], row["started_at"])
        project_id = payer.project_id if payer else nobody
        if project_id is not None:
            found[row["id"]] = {
                "project_id": project_id,
                "project_source": "key" if payer else "default",
                "billed_on": calendar.billed_on(project_id, row["started_at"]),
            }
    return found


def _nobody(conn: Connection) -> int | None:
    """The id of "unassigned"; None where no call and no key ever was."""
    return conn.execute(sa.select(known_projects.c.id).where(known_projects.c.name == UNASSIGNED)).scalar()
