"""The budgets of a store, asked before calls are sent."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import budgetperiods, budgets, keys, projects, reservations
from accounting.coverage import NOTHING, Bound, Coverage
from accounting.decisions import Ask, BudgetState, Decision
from accounting.keys import Payers
from accounting.projects import UNASSIGNED
from accounting.reservations import Knowledge
from accounting.scopes import Kind
from accounting.store import aliaslines, database_now, file_exists, open_engine, reading, schema, transact
from accounting.store.tables import store
from accounting.usage import Call


class StoreGate:
    """See `ports.Gate`. A store that was not made yet has no budgets."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url, apart=False)  # one thread asks
        self._known: Knowledge | None = None

    def coverage(self) -> Coverage:
        if not file_exists(self._engine):
            return NOTHING
        with reading(self._engine) as conn:
            if schema.revision(conn) is None:
                return NOTHING
            schema.check_stamp(conn)
            return self._current(conn).coverage

    def reserve(self, asks: Sequence[Ask]) -> list[Decision]:
        return transact(self._engine, partial(self._reserve, asks=asks))

    def release(self, call_ids: Collection[UUID]) -> None:
        transact(self._engine, partial(reservations.release, ids=call_ids))

    def states(self, call: Call) -> list[BudgetState]:
        with reading(self._engine) as conn:
            schema.check_stamp(conn)
            return states(conn, self._current(conn), call)

    def close(self) -> None:
        self._engine.dispose()

    def _reserve(self, conn: Connection, asks: Sequence[Ask]) -> list[Decision]:
        schema.check_stamp(conn)
        return reservations.reserve(conn, self._current(conn), asks, database_now(conn))

    def _current(self, conn: Connection) -> Knowledge:
        """What decides now; what was read before is as good while nobody changed it."""
        edition = conn.execute(_EDITION).one()
        known = self._known
        if known is None or known.coverage.edition != tuple(edition):
            known = self._known = knowledge(conn)
        return known


_EDITION = sa.select(store.c.budgets_edition, store.c.rates_edition)


def states(conn: Connection, known: Knowledge, call: Call) -> list[BudgetState]:
    """Where the budgets stand that cover the call, by name."""
    subject = known.coverage.subject(call)
    day = known.calendar.billed_on(subject.project_id or 0, call.started_at)
    covering = [known.budgets[bound.id] for bound in known.coverage.covering(call)]
    places = {budget.id: budgetperiods.place(budget, day) for budget in covering}
    rows = budgetperiods.read(conn, [place for place in places.values() if place is not None])
    found = []
    for budget in sorted(covering, key=lambda each: each.name):
        place = places[budget.id]
        period = rows.get(place) if place is not None else None
        found.append(budgetperiods.state(budget, period or budgetperiods.unused(budget, day), known.calendar))
    return found


def knowledge(conn: Connection) -> Knowledge:
    """What decides about calls, as the books have it now."""
    edition = conn.execute(_EDITION).one()
    held = [budget for budget in budgets.known(conn) if budget.paused_at is None]
    calendar = projects.calendar(conn)
    names = _names(conn, {each.scope.id for each in held if each.scope.kind is Kind.PROJECT} | {*calendar.own})
    coverage = Coverage(
        edition=(edition.budgets_edition, edition.rates_edition),
        budgets=[
            Bound(each.id, each.name, each.scope, each.told, each.terms.mode, each.terms.when_away)
            for each in sorted(held, key=lambda each: each.id)
        ],
        projects=names,
        keys=_keys(conn, {each.scope.id for each in held if each.scope.kind is Kind.KEY}),
        payers=_payers(conn, {*names.values()}) if names else {},
        default=names.get(UNASSIGNED),
        rules=aliaslines.read(conn, withdrawn=False) if any(each.scope.kind is Kind.MODEL for each in held) else (),
    )
    return Knowledge(coverage, {budget.id: budget for budget in held}, calendar)


def _names(conn: Connection, ids: Collection[int]) -> dict[str, int]:
    """The projects by all their names."""
    if not ids:
        return {}
    found = [project for project in projects.known(conn) if project.id in ids]
    former = {name: project.id for project in found for name in project.former}
    return former | {project.name: project.id for project in found}


def _keys(conn: Connection, ids: Collection[int]) -> dict[str, int]:
    return {key.fingerprint: key.id for key in keys.known(conn) if key.id in ids} if ids else {}


def _payers(conn: Connection, projects_: Collection[int]) -> dict[str, list[tuple[datetime, int | None]]]:
    """Who pays for keys, as far as it is one of these projects, or anybody where others would."""
    all_ = keys.known(conn)
    known: Payers = keys.payers(conn, [key.id for key in all_])
    return {
        key.fingerprint: [(turn.since, turn.project_id if turn.project_id in projects_ else None) for turn in turns]
        for key in all_
        if (turns := known.assignments.get(key.id))
    }
