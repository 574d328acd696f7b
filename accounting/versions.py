"""Calls that come again: the same once more, with a later outcome, or with contents that contradict the books.

An outcome is known better and better: a call that was delivered as unknown, by whoever took over the journal of a
process that seemed gone, is replaced when its owner delivers how it ended. Whichever comes first, the books say the
same in the end; of two that know as much and say otherwise the first stays, and people decide.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby, islice
from operator import attrgetter, lt
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import restate
from accounting.entries import Read
from accounting.ports import Verdict
from accounting.restate import Order
from accounting.settings import whoami
from accounting.stamps import Stamps
from accounting.store import Lock, hold, insert
from accounting.store.tables import calls, conflicts, repeats, restated_calls
from accounting.usage import Outcome

SUPERSEDED = "superseded"
"""The kind of a restatement by a later outcome, and how it settles conflicts about what was known before."""

_KNOWN = {Outcome.UNKNOWN: 0, Outcome.INTERRUPTED: 1, Outcome.FAILED: 2, Outcome.FINISHED: 2}


@dataclass(frozen=True, slots=True)
class Met:
    """What became of each number, and how many calls say something else now.

    `elsewhere` are the calls of numbers that their rows don't bear, as they came by another before.
    """

    verdicts: dict[int, Verdict]
    elsewhere: Mapping[int, UUID] = field(default_factory=dict)
    changed: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    """What the books hold of a call, and since which entry."""

    batch_id: int
    source_id: int
    number: int
    digest: bytes
    known: int


def best_first(read: Sequence[Read]) -> tuple[Sequence[Read], Sequence[Read]]:
    """All by id, and of one call what is known best first; and the first of each call."""
    ids = list(map(_ID, read))
    if all(map(lt, ids, islice(ids, 1, None))):  # as most journals deliver them
        return read, read
    ordered = sorted(read, key=lambda each: (each.call.id.int, -_known(each), each.number))
    return ordered, [next(versions) for _, versions in groupby(ordered, key=_ID)]


_ID = attrgetter("call.id.int")


def meet(conn: Connection, source_id: int, batch_id: int, read: Sequence[Read], stamps: Stamps, now: datetime) -> Met:
    """Judge entries, best first, of which some were in the books before the batch; later outcomes are taken over."""
    held = _held(conn, {each.call.id for each in read})
    if odd := {each.call.id for each in read if each.digest != held[each.call.id].digest}:
        held |= _held(conn, odd, lock=True)
    former = _former(conn, odd)
    verdicts: dict[int, Verdict] = {}
    later: dict[UUID, Read] = {}
    for each in read:
        id_, before = each.call.id, held[each.call.id]
        verdicts[each.number] = _verdict(each, before, batch_id, former.get(id_, ()))
        if _known(each) > before.known:
            later[id_] = each
            held[id_] = replace(before, digest=each.digest, known=_known(each))
    if later:
        _take_over(conn, later, stamps, now)
    bears = {id_: (call.source_id, call.number) for id_, call in held.items()}
    elsewhere = {each.number: each.call.id for each in read if bears[each.call.id] != (source_id, each.number)}
    return Met(verdicts, elsewhere, len(later))


def note_repeats(conn: Connection, source_id: int, elsewhere: Mapping[int, UUID]) -> None:
    """Keep the numbers, or they would seem lost; but for those that stand with a conflict."""
    ids = set(elsewhere.values())
    mine = sa.select(conflicts.c.number).where(conflicts.c.call_id.in_(ids), conflicts.c.source_id == source_id)
    numbers = sorted(elsewhere.keys() - set(conn.scalars(mine))) if ids else []
    rows = [{"source_id": source_id, "number": number, "call_id": elsewhere[number]} for number in numbers]
    if rows:
        conn.execute(insert(conn, repeats).on_conflict_do_nothing(), rows)


def contents(read: Read, stamps: Stamps) -> dict[str, Any]:
    """What a call in the books is to say by this entry."""
    return {**stamps.row(read.call), "digest": read.digest}


def _known(read: Read) -> int:
    return _KNOWN[read.call.outcome or Outcome.UNKNOWN]


def _held(conn: Connection, ids: Collection[UUID], *, lock: bool = False) -> dict[UUID, _Held]:
    """Locked, the calls stay as they are until the transaction ends."""
    columns = (calls.c.id, calls.c.batch_id, calls.c.source_id, calls.c.number, calls.c.digest, calls.c.outcome)
    query = sa.select(*columns).where(calls.c.id.in_(ids)).order_by(calls.c.id)
    if lock:
        hold(conn, Lock.ROLLUP, shared=True)  # as a restatement does, before it locks calls
        query = query.with_for_update()
    return {
        row.id: _Held(row.batch_id, row.source_id, row.number, row.digest, _KNOWN[Outcome(row.outcome)])
        for row in conn.execute(query)
    }


def _former(conn: Connection, ids: Collection[UUID]) -> dict[UUID, set[bytes]]:
    """Digests of what the calls said before they were restated."""
    found: dict[UUID, set[bytes]] = {}
    said = sa.select(restated_calls.c.call_id, restated_calls.c.before).where(restated_calls.c.call_id.in_(ids))
    for call_id, before in conn.execute(said) if ids else ():
        if "digest" in before:
            found.setdefault(call_id, set()).add(bytes.fromhex(before["digest"]))
    return found


def _verdict(each: Read, held: _Held, batch_id: int, former: Collection[bytes]) -> Verdict:
    if each.digest == held.digest:
        is_this = (held.batch_id, held.number) == (batch_id, each.number)
        return Verdict.INSERTED if is_this else Verdict.DUPLICATE
    if _known(each) != held.known or each.digest in former:
        return Verdict.SUPERSEDED
    return Verdict.CONFLICT


def _take_over(conn: Connection, later: Mapping[UUID, Read], stamps: Stamps, now: datetime) -> None:
    order = Order(SUPERSEDED, {"calls": str(len(later))}, whoami(), "A later outcome was delivered.")
    restatement = restate.begin(conn, order, now)
    restate.apply(conn, restatement, {id_: contents(each, stamps) for id_, each in later.items()})
    restate.finish(conn, restatement, now)
    # Whatever contradicted the books knew no more than they did.
    open_ = sa.update(conflicts).where(conflicts.c.call_id.in_(later), conflicts.c.settled_at.is_(None))
    conn.execute(open_.values(settled_at=now, settled_how=SUPERSEDED))
