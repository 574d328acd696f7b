"""What calls add to the spend tables, and how it gets there: one place for the rollup, `restate` and `rebuild`.

Rows go in by the order of their keys, the same one everywhere, so that two transactions that meet in a row wait
for each other and don't deadlock.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import reduce
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, FromClause, Table
from sqlalchemy.dialects.sqlite import Insert

from accounting.money import EXACT, ZERO
from accounting.rates import PRICES, Rate, price
from accounting.stated import Mark
from accounting.store import (
    each_pair,
    each_text,
    exact_cost,
    exact_negative,
    exact_sum,
    exact_total,
    insert,
    is_postgresql,
)
from accounting.store.tables import calls, rates, spend_by_tag, spend_days, spend_quarters
from accounting.store.types import Exact
from accounting.usage import COUNTED, Outcome, Quantities

COUNTS = ("calls", "failed", "interrupted", "unknown", "sub_calls")
"""A sub-call is in none of these but the last."""

ESTIMATES = ("estimated_input_tokens", "estimated_output_tokens")
"""What calls likely used beyond what was stated. They stand beside the sums, in no cost."""

ESTIMATED = "estimated_calls"
"""Of how many calls either is known; sub-calls, too, would be among them."""

FIGURES = (*COUNTS, *COUNTED, *ESTIMATES, ESTIMATED)

SPEND_TABLES = (spend_quarters, spend_days, spend_by_tag)
"""In the order in which every transaction adds to them."""

USER = "user"
"""What stands in `spend_by_tag.tag` for the end user; a tag stands there behind `TAG`."""
ANOMALY = "anomaly"
"""What stands there for the anomalies of a call, each with a row of its own."""
REFUSAL = "refusal"
"""What stands there for the calls that a budget refused, by its name."""
STATED = "stated"
"""What stands there for the calls whose provider stated a cost, by `stated.Mark`; the column of that name holds what it
said, to be held against `amount`."""
TAG = "tag:"

Contribution = Mapping[str, Any]
"""The columns of a spend table but for its cost: those of its key, and figures to add, also negative ones.

With what providers stated, where the table keeps that."""

_ENDINGS = (Outcome.FAILED, Outcome.INTERRUPTED, Outcome.UNKNOWN)


def group_columns(table: Table) -> list[str]:
    """What a row of a spend table is about; its figures and its cost are the rest."""
    return [column.name for column in table.primary_key]


def beside(table: Table) -> tuple[str, ...]:
    """The column of what providers stated, in the table that has it."""
    return ("stated",) if table is spend_by_tag else ()


def of_calls(conn: Connection, table: Table, which: ColumnElement[bool]) -> sa.Select[Any]:
    """The rows that the chosen calls make in a spend table, in the order of their keys, with what they cost."""
    return _priced(conn, table, sa.union_all(*_sums(table, which)).subquery())


def of_quarters(conn: Connection, which: ColumnElement[bool]) -> sa.Select[Any]:
    """The rows of `spend_days` that the chosen rows of `spend_quarters` add up to, likewise."""
    group = [spend_quarters.c[name] for name in group_columns(spend_days)]
    return _priced(conn, spend_days, _summed_again(group, spend_quarters).where(which).subquery())


def add_batches(conn: Connection, ids: Sequence[int]) -> None:
    """Adds the calls of these batches to every spend table, by the database alone."""
    if is_postgresql(conn):
        conn.execute(_UNSORTED)
    for table in SPEND_TABLES:
        conn.execute(_addition(conn, table), {"batches": ids})


def moved(table: Table, before: Iterable[Mapping[Any, Any]], after: Iterable[Mapping[Any, Any]]) -> list[Contribution]:
    """What it takes to make a spend table hold rows of `calls` as they are after, where it held them as before."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    stated: dict[tuple[Any, ...], Decimal] = {}
    for sign, rows in ((-1, before), (1, after)):
        for row in rows:
            figures = _figures(row)
            for group in _groups(table, row):
                _add_to(sums.setdefault(group, [0] * len(FIGURES)), figures, sign)
            if table is spend_by_tag and _states(row):
                group = _stated_group(row)
                stated[group] = EXACT.add(stated.get(group, ZERO), EXACT.multiply(row["provider_cost"], sign))
    return [
        _contribution(table, group, figures, stated.get(group))
        for group, figures in sums.items()
        if any(figures) or stated.get(group)
    ]


def _contribution(table: Table, group: tuple[Any, ...], figures: Sequence[int], stated: Decimal | None) -> Contribution:
    names = (*group_columns(table), *FIGURES, *beside(table))
    return dict(zip(names, (*group, *figures, *([stated] if beside(table) else [])), strict=True))


def add(conn: Connection, table: Table, contributions: Iterable[Contribution], lines: Mapping[int, Rate]) -> None:
    """Adds to a spend table, with what it costs; a row of which nothing is left goes."""
    group = group_columns(table)
    ordered = sorted(contributions, key=lambda one: [one[name] for name in group])
    if ordered:
        conn.execute(_added(table, insert(conn, table)), [{**one, **_cost(one, lines)} for one in ordered])
    if emptied := [one for one in ordered if one["calls"] < 0 or one["sub_calls"] < 0]:
        conn.execute(_deletion(table), [{f"key_{name}": one[name] for name in group} for one in emptied])


@contextmanager
def following(conn: Connection, which: ColumnElement[bool], parameters: Mapping[str, Any]) -> Iterator[None]:
    """Every spend table follows whatever the block changes in the chosen calls, by the database alone.

    What chooses them must not change; give one condition again and again, with parameters, as it is kept. Beside
    nobody else who adds to spend: the rows go in once as they were and once as they are, so not by the order of
    their keys.
    """
    if is_postgresql(conn):
        conn.execute(_UNSORTED)
    emptied = {table: conn.execute(_shift(conn, table, which, -1), parameters) for table in SPEND_TABLES}
    keys = {table: [_key(row) for row in rows.mappings() if not row["left"]] for table, rows in emptied.items()}
    yield
    for table in SPEND_TABLES:
        conn.execute(_shift(conn, table, which, +1), parameters)
        if keys[table]:
            conn.execute(_deletion(table), keys[table])


def _key(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: row[name] for name in row if name != "left"}


_shifts: dict[tuple[str, str, ColumnElement[bool], int], Any] = {}


def _shift(conn: Connection, table: Table, which: ColumnElement[bool], sign: int) -> Any:
    """Adds the chosen calls to a spend table, or takes them out and says of each row what is left; kept as below."""
    kept = conn.dialect.name, table.name, which, sign
    if kept not in _shifts:
        rows = _priced(conn, table, _signed(table, which, sign))
        added = _added(table, insert(conn, table).from_select(rows.selected_columns.keys(), rows))
        keys = (table.c[name].label(f"key_{name}") for name in group_columns(table))
        left = (table.c.calls + table.c.sub_calls).label("left")
        _shifts[kept] = added if sign > 0 else added.returning(left, *keys)
    return _shifts[kept]


def _signed(table: Table, which: ColumnElement[bool], sign: int) -> sa.Subquery:
    summed = sa.union_all(*_sums(table, which)).subquery()
    if sign > 0:
        return summed
    group = (summed.c[name] for name in group_columns(table))
    figures = ((-summed.c[name]).label(name) for name in FIGURES)
    return sa.select(
        *group, *figures, *(exact_negative(summed.c[name]).label(name) for name in beside(table))
    ).subquery()


def _priced(conn: Connection, table: Table, summed: sa.Subquery) -> sa.Select[Any]:
    group = [summed.c[name] for name in group_columns(table)]
    amount = exact_cost((summed.c[name] for name in COUNTED), (rates.c[name] for name in PRICES)).label("amount")
    figures = (summed.c[name] for name in (*FIGURES, *beside(table)))
    rows = sa.select(*group, *figures, amount, rates.c.currency)
    at_rates = rows.outerjoin_from(summed, rates, rates.c.id == summed.c.rate_id)
    return at_rates.order_by(*_in_key_order(conn, table, summed))


def _sums(table: Table, which: ColumnElement[bool]) -> list[sa.Select[Any]]:
    if table is not spend_by_tag:
        return [_summed([calls.c[name] for name in group_columns(table)]).where(which)]
    nothing = sa.cast(sa.null(), Exact).label("stated")
    labelled = (_of_tags(which), _of_users(which), _of_anomalies(which), _of_refusals(which))
    return [*(rows.add_columns(nothing) for rows in labelled), _of_stated(which)]


_BESIDE = [name for name in group_columns(spend_by_tag) if name not in ("tag", "value")]


def _of_tags(which: ColumnElement[bool]) -> sa.Select[Any]:
    """Calls with the same tags are summed first, as taking tags apart is what takes time."""
    alike = _summed([calls.c.tags, *(calls.c[name] for name in _BESIDE)]).where(which, calls.c.tags != {}).subquery()
    pair = each_pair(alike.c.tags)
    group = _tag_group(sa.literal(TAG) + pair.c.key, pair.c.value, alike)
    return _summed_again(group, alike).select_from(alike, pair)


def _of_users(which: ColumnElement[bool]) -> sa.Select[Any]:
    return _summed(_tag_group(sa.literal(USER), calls.c.end_user, calls)).where(which, calls.c.end_user.is_not(None))


def _of_refusals(which: ColumnElement[bool]) -> sa.Select[Any]:
    refused = (which, calls.c.refused_by.is_not(None))
    return _summed(_tag_group(sa.literal(REFUSAL), calls.c.refused_by, calls)).where(*refused)


def _of_anomalies(which: ColumnElement[bool]) -> sa.Select[Any]:
    flagged = (which, calls.c.anomalies != [])
    alike = _summed([calls.c.anomalies, *(calls.c[name] for name in _BESIDE)]).where(*flagged).subquery()
    each = each_text(alike.c.anomalies)
    return _summed_again(_tag_group(sa.literal(ANOMALY), each.c.value, alike), alike).select_from(alike, each)


def _of_stated(which: ColumnElement[bool]) -> sa.Select[Any]:
    """Calls of one mark are summed first, as spelling it out for each would take longer."""
    said = [calls.c[name] for name in _SAID]
    group = [*said, calls.c.provider, calls.c.model, *(calls.c[name] for name in _BESIDE)]
    stated = exact_total(calls.c.provider_cost).label("stated")
    is_stated = [column.is_not(None) for column in (*said, calls.c.provider_cost)]
    alike = _summed(group).add_columns(stated).where(which, *is_stated).subquery()
    words = (*(alike.c[name] for name in _SAID), _in_one_word(alike.c.provider), alike.c.model)
    key = _tag_group(sa.literal(STATED), reduce(lambda mark, word: mark + " " + word, words), alike)
    return sa.select(*key, *(alike.c[name] for name in FIGURES), alike.c.stated)


_SAID = ("stated_as", "provider_cost_currency")


def _in_one_word(provider: ColumnElement[str]) -> ColumnElement[str]:
    """As `Mark` spells it."""
    return sa.func.replace(sa.func.replace(provider, "%", "%25"), " ", "%20", type_=sa.Text())


def _tag_group(tag: ColumnElement[str], value: ColumnElement[str], beside: FromClause) -> list[ColumnElement[Any]]:
    special = {"tag": tag.label("tag"), "value": value.label("value")}
    return [special[name] if name in special else beside.c[name] for name in group_columns(spend_by_tag)]


def _summed_again(group: Sequence[ColumnElement[Any]], sums: FromClause) -> sa.Select[Any]:
    return sa.select(*group, *(sa.func.sum(sums.c[name]).label(name) for name in FIGURES)).group_by(*group)


def _summed(group: Sequence[ColumnElement[Any]]) -> sa.Select[Any]:
    sub_calls = sa.func.count(calls.c.parent_id)
    counts = ((sa.func.count() - sub_calls).label("calls"), *map(_ended, _ENDINGS), sub_calls.label("sub_calls"))
    quantities = (sa.func.coalesce(sa.func.sum(calls.c[name]), 0).label(name) for name in (*COUNTED, *ESTIMATES))
    estimated = sa.func.count(sa.func.coalesce(*(calls.c[name] for name in ESTIMATES))).label(ESTIMATED)
    return sa.select(*group, *counts, *quantities, estimated).group_by(*group)


def _ended(outcome: Outcome) -> ColumnElement[int]:
    so = sa.and_(calls.c.outcome == outcome.value, calls.c.parent_id.is_(None))
    return sa.func.sum(sa.case((so, 1), else_=0)).label(outcome.value)


_KEYS = {table: itemgetter(*group_columns(table)) for table in SPEND_TABLES}


def _groups(table: Table, row: Mapping[Any, Any]) -> list[tuple[Any, ...]]:
    """The keys of the rows of a spend table that a call is part of."""
    key = _KEYS[table]
    if table is not spend_by_tag:
        return [key(row)]
    marks = [(TAG + name, value) for name, value in row["tags"].items()]
    if row["end_user"] is not None:
        marks.append((USER, row["end_user"]))
    if row["refused_by"] is not None:
        marks.append((REFUSAL, row["refused_by"]))
    marks += [(ANOMALY, name) for name in row["anomalies"]]
    groups = [key({**row, "tag": tag, "value": value}) for tag, value in marks]
    return [*groups, _stated_group(row)] if _states(row) else groups


def _states(row: Mapping[Any, Any]) -> bool:
    """Whether the provider stated what the call cost."""
    return all(row[name] is not None for name in (*_SAID, "provider_cost"))


def _stated_group(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    mark = Mark(row["stated_as"], row["provider_cost_currency"], row["provider"], row["model"])
    group: tuple[Any, ...] = _KEYS[spend_by_tag]({**row, "tag": STATED, "value": str(mark)})
    return group


def _figures(row: Mapping[Any, Any]) -> list[int]:
    """One call's, in the order of `FIGURES`."""
    is_estimated = any(row[name] is not None for name in ESTIMATES)
    return [*_counts(row), *(row[name] or 0 for name in (*COUNTED, *ESTIMATES)), int(is_estimated)]


def _counts(row: Mapping[Any, Any]) -> list[int]:
    if row["parent_id"] is not None:
        return [0] * len(_ENDINGS) + [0, 1]
    return [1, *(int(row["outcome"] == ending) for ending in _ENDINGS), 0]


def _add_to(held: list[int], figures: Sequence[int], sign: int) -> None:
    for place, figure in enumerate(figures):
        held[place] += sign * figure


def _cost(one: Contribution, lines: Mapping[int, Rate]) -> dict[str, Any]:
    """`amount` and `currency` as a spend row carries them; both NULL without a rate."""
    rate = lines.get(one["rate_id"])
    if rate is None:
        return {"amount": None, "currency": None}
    cost = price(Quantities(*(one[name] for name in COUNTED)), rate)
    return {"amount": cost.amount, "currency": cost.currency}


_UNSORTED = sa.select(
    sa.func.set_config("enable_sort", "off", True), sa.func.set_config("enable_incremental_sort", "off", True)
)
"""Until the transaction ends: PostgreSQL expects about as many groups as calls, and would sort all calls by their group
rather than keep the few sums that there are.
"""

_additions: dict[tuple[str, str], Insert] = {}


def _addition(conn: Connection, table: Table) -> Insert:
    """Kept, as putting it together takes longer than adding a small batch."""
    which = conn.dialect.name, table.name
    if which not in _additions:
        rows = of_calls(conn, table, calls.c.batch_id.in_(sa.bindparam("batches", expanding=True)))
        _additions[which] = _added(table, insert(conn, table).from_select(rows.selected_columns.keys(), rows))
    return _additions[which]


def _in_key_order(conn: Connection, table: Table, rows: FromClause) -> list[ColumnElement[Any]]:
    """The order in which Python sorts keys, whatever the database's own order of texts."""
    texts = {column.name for column in table.primary_key if isinstance(column.type, sa.Text)}
    collation = "C" if is_postgresql(conn) else "BINARY"
    return [rows.c[name].collate(collation) if name in texts else rows.c[name] for name in group_columns(table)]


def _added(table: Table, statement: Insert) -> Insert:
    """The rows of the statement are added to those that are there."""
    new = statement.excluded
    sums: dict[str, Any] = {name: table.c[name] + new[name] for name in FIGURES}
    sums |= {name: exact_sum(table.c[name], new[name]) for name in ("amount", *beside(table))}
    return statement.on_conflict_do_update(index_elements=group_columns(table), set_=sums)


def _deletion(table: Table) -> sa.Delete:
    this = (table.c[name] == sa.bindparam(f"key_{name}") for name in group_columns(table))
    return sa.delete(table).where(*this, *(table.c[name] == 0 for name in FIGURES))
