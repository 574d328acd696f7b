"""Budgets in the books: limits in money on what some calls cost in a period, and who changed them when.

Running programs keep a copy of them: see `store.editions`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from accounting import keys, money, projects
from accounting.cycles import Cycle, Every
from accounting.decisions import Mode, WhenAway
from accounting.errors import ConfigurationError
from accounting.money import EXACT, Money, exact, plain
from accounting.nearness import near
from accounting.periods import EARLIEST
from accounting.projects import Calendar
from accounting.scopes import Kind, Scope
from accounting.store import Lock, editions, hold
from accounting.store.tables import budget_changes, budget_periods, budgets
from accounting.store.tables import keys as key_rows
from accounting.store.tables import projects as project_rows
from accounting.usage import MAX_TEXT, clean

THRESHOLDS = (Decimal(50), Decimal(80), Decimal(100))
"""Percent of the limit at which people want to hear of a budget, where they name no others."""

MOST_PERCENT = 1000
MOST_DIGITS = 18
"""Of a limit, and of an exchange rate: what is converted by it and summed has to fit `money.EXACT`."""

MOST_DAYS = 3660


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What can be changed about a budget.

    `limit` is in the budget's currency. `fx` says for other currencies what one unit of each is in that, so that calls
    that cost those count; without one a hard budget refuses them. `max_output` is how many tokens an answer has at most
    to a request that names no bound.
    """

    name: str
    limit: Decimal
    mode: Mode = Mode.SOFT
    thresholds: tuple[Decimal, ...] = THRESHOLDS
    when_away: WhenAway = WhenAway.REFUSE
    fx: Mapping[str, Decimal] = field(default_factory=dict)
    max_output: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A budget as it stands in the books. `told` is its scope for people.

    No period of it begins before `counted_from`. A paused one stops no call, and counts all the same; a removed one
    counts no more.
    """

    id: int
    scope: Scope
    told: str
    currency: str
    cycle: Cycle
    terms: Terms
    counted_from: date
    created_at: datetime
    created_by: str
    paused_at: datetime | None = None
    removed_at: datetime | None = None

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def is_binding(self) -> bool:
        """Whether it stops calls."""
        return self.terms.mode is not Mode.SOFT and self.paused_at is None and self.removed_at is None

    def converted(self, cost: Money) -> Decimal | None:
        """The cost in the budget's currency; None where nobody said what that is."""
        if cost.currency == self.currency:
            return cost.amount
        rate = self.terms.fx.get(cost.currency)
        return None if rate is None else EXACT.multiply(cost.amount, rate)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that somebody did about a budget; `fields` tell of each that changed what it said before and after."""

    at: datetime
    who: str
    what: str
    fields: Mapping[str, tuple[str | None, str | None]]
    why: str


def add(
    conn: Connection, scope: Scope, currency: str, cycle: Cycle, terms: Terms, now: datetime, who: str, why: str = ""
) -> Budget:
    """A new budget. What its period has cost already is `backfill`'s to say, in the same transaction.

    To be done in `stamps.decide`. Raises `ConfigurationError` for what can't be one.
    """
    _refuse_scope(scope)
    _refuse_cycle(cycle)
    code = money.currency(currency)
    checked = _checked(terms, code)
    _refuse_name(checked.name)
    _refuse_taken(conn, checked.name, None)
    where = _columns(scope, cycle)
    row = where | _row(checked) | {"currency": code, "created_at": now, "created_by": who}
    row["counted_from"] = _counted_from(scope, cycle, projects.calendar(conn), now)
    key = conn.execute(sa.insert(budgets).values(row)).inserted_primary_key
    assert key is not None  # noqa: S101 - a single row was inserted
    _note(conn, int(key[0]), "added", changed_terms(None, checked), now, who, why)
    editions.budgets_changed(conn)
    return _one(conn, int(key[0]))


def edit(conn: Connection, budget: Budget, terms: Terms, now: datetime, who: str, why: str = "") -> Budget:
    """The budget by other terms; what was spent stays. A new limit is that of periods that are not over, too; see
    `budgetlimits` for those that have no row yet.

    To be done in `stamps.decide`, and with other exchange rates a `backfill` after it.
    """
    checked = _checked(terms, budget.currency)
    changed = changed_terms(budget.terms, checked)
    if not changed:
        return budget
    if checked.name != budget.name:
        _refuse_name(checked.name)
    _refuse_taken(conn, checked.name, budget)
    conn.execute(sa.update(budgets).where(budgets.c.id == budget.id).values(_row(checked)))
    if checked.limit != budget.terms.limit:
        conn.execute(sa.update(budget_periods).where(*_going_on(conn, budget, now)).values(amount=checked.limit))
    _note(conn, budget.id, "edited", changed, now, who, why)
    editions.budgets_changed(conn)
    return _one(conn, budget.id)


def pause(conn: Connection, budget: Budget, now: datetime, who: str, why: str = "") -> Budget:
    """From now on it stops no call; it counts all the same."""
    if budget.paused_at is not None:
        raise ConfigurationError(f"{budget.name} is paused already, since {budget.paused_at:%Y-%m-%d %H:%M}Z.")
    return _mark(conn, budget, "paused", {"paused_at": now}, now, who, why)


def resume(conn: Connection, budget: Budget, now: datetime, who: str, why: str = "") -> Budget:
    """It stops calls again."""
    if budget.paused_at is None:
        raise ConfigurationError(f"{budget.name} is not paused.")
    return _mark(conn, budget, "resumed", {"paused_at": None}, now, who, why)


def remove(conn: Connection, budget: Budget, now: datetime, who: str, why: str = "") -> Budget:
    """From now on it neither stops nor counts; its history stays, and its name is free again."""
    return _mark(conn, budget, "removed", {"removed_at": now}, now, who, why)


def note(conn: Connection, budget: Budget, what: str, said: str, now: datetime, who: str, why: str) -> None:
    """Keep in the budget's history what somebody did about it, in a few words."""
    _note(conn, budget.id, what, {what: (None, said)}, now, who, why)


def find(conn: Connection, name: str) -> Budget:
    """The budget of that name; raises `ConfigurationError` where there is none."""
    wanted, all_ = clean(name.strip()) or "", known(conn)
    for budget in all_:
        if budget.name == wanted:
            return budget
    like = near(wanted, [budget.name for budget in all_])
    hint = f" Near it: {', '.join(like)}." if like else ""
    raise ConfigurationError(
        f"There is no budget {wanted!r}.{hint} See accounting budgets list, or make it: accounting budgets add"
    )


def known(conn: Connection, *, removed: bool = False) -> list[Budget]:
    """All budgets, by name; also those that were removed, if asked for."""
    query = _ALL if removed else _ALL.where(budgets.c.removed_at.is_(None))
    return [_budget(row) for row in conn.execute(query.order_by(budgets.c.name, budgets.c.id)).mappings()]


def by_id(conn: Connection, id_: int) -> Budget:
    """The budget of that id, also one that was removed."""
    return _one(conn, id_)


def changes(conn: Connection, budget: Budget) -> list[Change]:
    """What was done about the budget, in order of time."""
    rows = conn.execute(
        sa.select(budget_changes).where(budget_changes.c.budget_id == budget.id).order_by(budget_changes.c.id)
    )
    return [
        Change(row.at, row.who, row.what, {name: (was, is_) for name, (was, is_) in row.fields.items()}, row.why)
        for row in rows
    ]


_ALL = (
    sa.select(
        budgets,
        project_rows.c.name.label("project"),
        key_rows.c.fingerprint,
        key_rows.c.last4,
        key_rows.c.name.label("key_name"),
    )
    .outerjoin(project_rows, project_rows.c.id == budgets.c.project_id)
    .outerjoin(key_rows, key_rows.c.id == budgets.c.key_id)
)


def _one(conn: Connection, id_: int) -> Budget:
    return _budget(conn.execute(_ALL.where(budgets.c.id == id_)).mappings().one())


def _budget(row: Mapping[Any, Any]) -> Budget:
    scope = Scope(
        Kind(row["scope"]),
        row["project_id"] or row["key_id"] or 0,
        row["scope_name"] or "",
        row["scope_value"] or "",
    )
    return Budget(
        id=row["id"],
        scope=scope,
        told=_told(scope, row),
        currency=row["currency"],
        cycle=Cycle(Every(row["every"]), row["every_days"] or 0, row["since"]),
        terms=_terms(row),
        counted_from=row["counted_from"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        paused_at=row["paused_at"],
        removed_at=row["removed_at"],
    )


def _told(scope: Scope, row: Mapping[Any, Any]) -> str:
    match scope.kind:
        case Kind.ALL:
            return "everything"
        case Kind.PROJECT:
            return f"project {row['project']}"
        case Kind.KEY:
            return f"key {keys.label(row['fingerprint'], row['last4'], row['key_name'])}"
        case Kind.TAG:
            return f"tag {scope.name}={scope.value}"
        case _:
            return f"{scope.kind} {scope.name}"


def _terms(row: Mapping[Any, Any]) -> Terms:
    return Terms(
        name=row["name"],
        limit=row["amount"],
        mode=Mode(row["mode"]),
        thresholds=tuple(map(exact, row["thresholds"])),
        when_away=WhenAway(row["when_away"]),
        fx={code: exact(rate) for code, rate in row["fx"].items()},
        max_output=row["max_output"],
    )


def _row(terms: Terms) -> dict[str, Any]:
    return {
        "name": terms.name,
        "amount": terms.limit,
        "mode": terms.mode,
        "thresholds": list(map(plain, terms.thresholds)),
        "when_away": terms.when_away,
        "fx": {code: plain(rate) for code, rate in terms.fx.items()},
        "max_output": terms.max_output,
    }


def _columns(scope: Scope, cycle: Cycle) -> dict[str, Any]:
    return {
        "scope": scope.kind,
        "project_id": scope.id if scope.kind is Kind.PROJECT else None,
        "key_id": scope.id if scope.kind is Kind.KEY else None,
        "scope_name": scope.name or None,
        "scope_value": scope.value if scope.kind is Kind.TAG else None,
        "every": cycle.every,
        "every_days": cycle.days or None,
        "since": cycle.since,
    }


def _counted_from(scope: Scope, cycle: Cycle, calendar: Calendar, now: datetime) -> date:
    """The first day of the period that is running; of one that is to begin later, that day."""
    today = _today(scope, calendar, now)
    if cycle.every is Every.TOTAL:
        return cycle.since or EARLIEST
    if cycle.since is not None and cycle.since > today:
        return cycle.since
    return cycle.span(today).first


def _going_on(conn: Connection, budget: Budget, now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Of its periods those that are not over."""
    ends_on, over = budget_periods.c.ends_on, over_by(budget, projects.calendar(conn), now)
    return budget_periods.c.budget_id == budget.id, sa.or_(ends_on.is_(None), ends_on > over)


def over_by(budget: Budget, calendar: Calendar, now: datetime) -> date:
    """The last day that a period ends on, left out, which is over: of a budget that is not a project's, in any zone on
    earth."""
    if budget.scope.kind is Kind.PROJECT:
        return _today(budget.scope, calendar, now)
    return (now + _FURTHEST_WEST).astimezone(UTC).date()


_FURTHEST_WEST = timedelta(hours=-12)
"""Where a day ends last, by UTC."""


def _today(scope: Scope, calendar: Calendar, now: datetime) -> date:
    """By the days of its project, else of the books."""
    return calendar.billed_on(scope.id if scope.kind is Kind.PROJECT else 0, now)


def _mark(
    conn: Connection, budget: Budget, what: str, values: dict[str, Any], now: datetime, who: str, why: str
) -> Budget:
    hold(conn, Lock.INGEST)
    conn.execute(sa.update(budgets).where(budgets.c.id == budget.id).values(values))
    _note(conn, budget.id, what, {}, now, who, why)
    editions.budgets_changed(conn)
    return _one(conn, budget.id)


Fields = Mapping[str, tuple[str | None, str | None]]


def _note(conn: Connection, id_: int, what: str, said: Fields, now: datetime, who: str, why: str) -> None:
    row = {"budget_id": id_, "at": now, "who": who, "what": what, "fields": said, "why": clean(why)}
    conn.execute(sa.insert(budget_changes).values(row))


def changed_terms(before: Terms | None, after: Terms) -> Fields:
    """Of each term that is another now what it was and is, as people read it."""
    told = {
        each.name: (None if before is None else _text(getattr(before, each.name)), _text(getattr(after, each.name)))
        for each in fields(Terms)
    }
    return {name: both for name, both in told.items() if both[0] != both[1]}


def _text(value: object) -> str | None:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, tuple):
        return ", ".join(map(plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{code}={plain(rate)}" for code, rate in sorted(value.items()))
    return None if value is None else str(value)


def _checked(terms: Terms, currency: str) -> Terms:
    """The terms as they are kept; raises `ConfigurationError` where one can't be used."""
    name = clean(terms.name.strip()) or ""
    if not name or len(name) > MAX_TEXT:
        raise ConfigurationError(f"A budget's name has 1 to {MAX_TEXT} characters, found {len(name)}.")
    if len(terms.limit.as_tuple().digits) > MOST_DIGITS or abs(terms.limit.adjusted()) > MOST_DIGITS:
        raise ConfigurationError(f"The limit is {terms.limit:.3E}; expected an amount of at most {MOST_DIGITS} digits.")
    if terms.limit < 0:
        raise ConfigurationError(f"The limit is {plain(terms.limit)}; expected 0 or more.")
    if terms.max_output is not None and terms.max_output < 1:
        raise ConfigurationError(f"The most output is {terms.max_output}; expected 1 token or more.")
    fx = {money.currency(code): rate for code, rate in terms.fx.items()}
    for code, rate in fx.items():
        _refuse_exchange(code, rate, currency)
    return replace(terms, name=name, thresholds=_thresholds(terms.thresholds), fx=fx)


def _refuse_exchange(code: str, rate: Decimal, currency: str) -> None:
    if code == currency:
        raise ConfigurationError(f"The budget is in {currency} itself; name an exchange rate for another currency.")
    if len(rate.as_tuple().digits) > MOST_DIGITS:
        raise ConfigurationError(f"{code}={plain(rate)} is too exact; expected at most {MOST_DIGITS} digits.")
    if rate <= 0:
        raise ConfigurationError(f"{code}={plain(rate)} is no exchange rate; expected what 1 {code} is in {currency}.")


def _thresholds(percents: Iterable[Decimal]) -> tuple[Decimal, ...]:
    found = tuple(sorted(set(percents)))
    for percent in found:
        if not 0 < percent <= MOST_PERCENT:
            raise ConfigurationError(
                f"A threshold of {plain(percent)} % can't be reached; expected percent above 0, to {MOST_PERCENT}."
            )
    return found


def _refuse_scope(scope: Scope) -> None:
    named = scope.kind in (Kind.MODEL, Kind.PROVIDER, Kind.USER, Kind.TAG)
    if named and not scope.name.strip():
        raise ConfigurationError(f"The {scope.kind} is empty; expected its name, as calls give it.")


def _refuse_cycle(cycle: Cycle) -> None:
    if cycle.every is not Every.DAYS:
        return
    if not 1 <= cycle.days <= MOST_DAYS:
        raise ConfigurationError(f"A period of {cycle.days} days is none; expected 1 to {MOST_DAYS:,}.")
    if cycle.since is None:
        raise ConfigurationError(f"Periods of {cycle.days} days begin somewhere; expected the first day of one.")


def _refuse_name(name: str) -> None:
    """What steers a terminal could not be typed again, as commands that are advised name the budget."""
    if odd := [each for each in name if not each.isprintable()]:
        raise ConfigurationError(f"The budget's name {name!r} has {odd[0]!r}; expected text that can be printed.")


def _refuse_taken(conn: Connection, name: str, by: Budget | None) -> None:
    for budget in known(conn):
        if budget.name == name and (by is None or by.id != budget.id):
            raise ConfigurationError(
                f"There is a budget {name!r} already, on {budget.told}. Take another name, or edit it: "
                f"accounting budgets edit {name!r}"
            )
