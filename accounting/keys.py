"""API keys, which call: what people name them, and which project pays for what each calls without naming one."""

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.credentials import Credential, known_as
from accounting.errors import ConfigurationError
from accounting.projects import UNASSIGNED
from accounting.store import editions, insert
from accounting.store.tables import key_projects, keys, projects
from accounting.usage import clean

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""From this instant on means always: no call is as old."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """From the instant on, the project pays, until the next assignment."""

    since: datetime
    project_id: int
    project: str


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as the books know it; the key itself is nowhere in them. Its first call may be still to come."""

    id: int
    fingerprint: str
    last4: str
    name: str | None
    first_seen_at: datetime

    @property
    def label(self) -> str:
        """As in a report."""
        return label(self.fingerprint, self.last4, self.name)


@dataclass(frozen=True, slots=True)
class Payers:
    """Who pays for what keys call: assignments by the key's id, in order of time."""

    assignments: Mapping[int, tuple[Assignment, ...]]

    def at(self, key_id: int, at: datetime) -> Assignment | None:
        """Whose turn it is; None where nobody pays, and so "unassigned"."""
        known = self.assignments.get(key_id)
        if not known:
            return None
        place = bisect_right(known, at, key=lambda assignment: assignment.since)
        return known[place - 1] if place and known[place - 1].project != UNASSIGNED else None

    def after(self, key_id: int, at: datetime) -> Assignment | None:
        """Whose turn comes next."""
        return next((each for each in self.assignments.get(key_id, ()) if each.since > at), None)

    def with_(self, key_id: int, assignment: Assignment, now: datetime) -> "Payers":
        """As it would be after `assign`."""
        kept = [
            each for each in self.assignments.get(key_id, ()) if not _is_replaced(each.since, assignment.since, now)
        ]
        changed = tuple(sorted([*kept, assignment], key=lambda each: each.since))
        return Payers({**self.assignments, key_id: changed})


def _is_replaced(there: datetime, since: datetime, now: datetime) -> bool:
    """Whether an assignment gives way to one since then: what is planned for later stays planned."""
    return since <= there <= max(since, now)


def label(fingerprint: str, last4: str, name: str | None) -> str:
    """What a key is called where people read it, in the views of the store too."""
    if name:
        return f"{name} (…{last4})"
    return f"…{last4} ({fingerprint[:8]})" if fingerprint else "(no key)"


def key_ids(conn: Connection, last4: Mapping[str, str], now: datetime) -> dict[str, int]:
    """The id of each key by its fingerprint; new ones are added with their last four characters."""
    found = _found(conn, last4)
    if missing := sorted(last4.keys() - found.keys()):
        # In the order of their fingerprints, so that two transactions that add the same ones can't deadlock.
        rows = [{"fingerprint": each, "last4": last4[each], "first_seen_at": now} for each in missing]
        conn.execute(insert(conn, keys).on_conflict_do_nothing(), rows)
        found |= _found(conn, missing)
    return found


def _found(conn: Connection, fingerprints: Collection[str]) -> dict[str, int]:
    return {row[0]: row[1] for row in conn.execute(_IDS, {"fingerprints": list(fingerprints)})}


_IDS = sa.select(keys.c.fingerprint, keys.c.id).where(
    keys.c.fingerprint.in_(sa.bindparam("fingerprints", expanding=True))
)


def payers(conn: Connection, key_ids: Collection[int]) -> Payers:
    """Who pays for what these keys call."""
    found: dict[int, list[Assignment]] = {}
    for key_id, *assignment in conn.execute(_ASSIGNMENTS, {"keys": list(key_ids)}):
        found.setdefault(key_id, []).append(Assignment(*assignment))
    return Payers({key_id: tuple(assignments) for key_id, assignments in found.items()})


_ASSIGNMENTS = (
    sa.select(key_projects.c.key_id, key_projects.c.valid_from, key_projects.c.project_id, projects.c.name)
    .join_from(key_projects, projects)
    .where(key_projects.c.key_id.in_(sa.bindparam("keys", expanding=True)))
    .order_by(key_projects.c.key_id, key_projects.c.valid_from)
)


def known(conn: Connection) -> list[Key]:
    """All keys, in the order in which they came."""
    rows = conn.execute(sa.select(keys).order_by(keys.c.id))
    return [Key(row.id, row.fingerprint, row.last4, row.name, row.first_seen_at) for row in rows]


def find(conn: Connection, text: str) -> Key:
    """The one key with that name, last four, or beginning of its fingerprint."""
    wanted, all_ = text.strip().lstrip("…"), known(conn)
    found = [key for key in all_ if wanted and _is_called(key, wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        candidates = "; ".join(f"{key.fingerprint[:12] or key.label}: {key.label}" for key in found)
        raise ConfigurationError(f"{text!r} may be any of these, name one by its fingerprint: {candidates}.")
    raise ConfigurationError(
        f"There is no key {text!r}; expected its last four, the start of its fingerprint, or its name, "
        "as in accounting keys list."
    )


def _is_called(key: Key, text: str) -> bool:
    if text in (key.name, key.last4, key.label):
        return True
    return bool(key.fingerprint) and key.fingerprint.startswith(text.lower())


def create(conn: Connection, credential: Credential, name: str, now: datetime) -> Key:
    """A key before its first call, under a name."""
    if not credential.fingerprint:
        raise ConfigurationError("There is no key in what was given; expected its text, as a program sends it.")
    wanted = _checked(conn, name, credential.fingerprint)
    for key in known(conn):
        if key.fingerprint == credential.fingerprint:
            raise ConfigurationError(
                f"This key is in the books already: {key.label}, since {key.first_seen_at:%Y-%m-%d}. "
                f"To name it: accounting keys rename {key.fingerprint[:8]} {wanted!r}"
            )
    row = {"fingerprint": credential.fingerprint, "last4": credential.last4, "name": wanted, "first_seen_at": now}
    conn.execute(sa.insert(keys).values(row))
    return find(conn, credential.fingerprint)


def rename(conn: Connection, key: Key, name: str) -> Key:
    """The key under another name, in all reports, also of the past."""
    if name == key.name:
        return key
    wanted = _checked(conn, name, key.fingerprint)
    conn.execute(sa.update(keys).where(keys.c.id == key.id).values(name=wanted))
    return next(each for each in known(conn) if each.id == key.id)


def _checked(conn: Connection, name: str, fingerprint: str) -> str:
    wanted = clean(name.strip())
    if not wanted:
        raise ConfigurationError("A key's name can't be empty.")
    if fingerprint and known_as(wanted).fingerprint == fingerprint:
        raise ConfigurationError("This name is the key itself, which nobody may read in a report. Take another.")
    for key in known(conn):
        if key.name == wanted:
            raise ConfigurationError(f"{wanted!r} is the name of another key, {key.label}. Take another name.")
    return wanted


def assign(conn: Connection, key: Key, assignment: Assignment, now: datetime, who: str, why: str) -> None:
    """The project pays for what the key calls from then on, until what is planned for after now.

    Assignments since then give way. Calls in the books stay as they are. To be done in `stamps.decide`.
    """
    valid_from = key_projects.c.valid_from
    given_way = valid_from.between(assignment.since, max(assignment.since, now))
    conn.execute(sa.delete(key_projects).where(key_projects.c.key_id == key.id, given_way))
    row = {
        "key_id": key.id,
        "valid_from": assignment.since,
        "project_id": assignment.project_id,
        "decided_at": now,
        "decided_by": who,
        "why": clean(why),
    }
    conn.execute(sa.insert(key_projects).values(row))
    editions.budgets_changed(conn)


def decided_at(conn: Connection, key: Key, since: datetime) -> datetime | None:
    """When it was decided who pays for the key from that very instant on; None where nothing was."""
    this = sa.select(key_projects.c.decided_at).where(key_projects.c.key_id == key.id)
    found: datetime | None = conn.execute(this.where(key_projects.c.valid_from == since)).scalar()
    return found
