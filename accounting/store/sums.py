"""Pricing and adding up in SQL, to the last digit on both databases."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from accounting.money import EXACT, exact, plain
from accounting.periods import Period
from accounting.rates import CLASSES, PARENTS, PRICES, REQUIRED, Class, Rate, price
from accounting.store.types import Exact
from accounting.usage import Quantities


class exact_sum(FunctionElement[Decimal]):  # noqa: N801 - reads as the SQL function it is
    """The sum of two amounts to the last digit. NULL adds nothing; NULL and NULL stay NULL.

    On SQLite a function on the connection, as its own + would turn the text into a binary float.
    """

    type = Exact()
    inherit_cache = True
    name = "exact_sum"

    def __init__(self, left: ColumnElement[Any], right: ColumnElement[Any]) -> None:
        super().__init__(left, right)


@compiles(exact_sum)
def _plus(element: exact_sum, compiler: Any, **options: Any) -> str:
    left, right = element.clauses
    # .op, as SQLAlchemy takes + between what it knows as texts for ||
    return str(compiler.process(sa.func.coalesce(left.op("+")(right), left, right), **options))


@compiles(exact_sum, "sqlite")
def _function(element: exact_sum, compiler: Any, **options: Any) -> str:
    return f"exact_add({compiler.process(element.clauses, **options)})"


def exact_add(left: str | None, right: str | None) -> str | None:
    """What SQLite calls by this name: see `exact_sum`."""
    if left is None or right is None:
        return left if right is None else right
    return plain(EXACT.add(exact(left), exact(right)))


class exact_negative(FunctionElement[Decimal]):  # noqa: N801 - as above
    """The amount with its sign turned; NULL stays NULL."""

    type = Exact()
    inherit_cache = True
    name = "exact_negative"

    def __init__(self, amount: ColumnElement[Any]) -> None:
        super().__init__(amount)


@compiles(exact_negative)
def _minus(element: exact_negative, compiler: Any, **options: Any) -> str:
    return f"(-{compiler.process(element.clauses, **options)})"


@compiles(exact_negative, "sqlite")
def _other_sign(element: exact_negative, compiler: Any, **options: Any) -> str:
    amount = compiler.process(element.clauses, **options)
    return (
        f"CASE WHEN {amount} = '0' THEN '0' WHEN {amount} LIKE '-%' THEN substr({amount}, 2) ELSE '-' || {amount} END"
    )


class exact_total(FunctionElement[Decimal]):  # noqa: N801 - as above
    """The sum of amounts of a group, to the last digit; NULL adds nothing, and NULL where there is nothing else."""

    type = Exact()
    inherit_cache = True
    name = "exact_total"

    def __init__(self, amount: ColumnElement[Any]) -> None:
        super().__init__(amount)


@compiles(exact_total)
def _aggregate(element: exact_total, compiler: Any, **options: Any) -> str:
    return f"sum({compiler.process(element.clauses, **options)})"


@compiles(exact_total, "sqlite")
def _own_aggregate(element: exact_total, compiler: Any, **options: Any) -> str:
    return f"exact_total({compiler.process(element.clauses, **options)})"


class Total:
    """What SQLite calls by the name of `exact_total`: one for each group."""

    def __init__(self) -> None:
        self._sum: Decimal | None = None

    def step(self, amount: Any) -> None:
        if amount is not None:
            self._sum = exact(amount) if self._sum is None else EXACT.add(self._sum, exact(amount))

    def finalize(self) -> Any:
        return None if self._sum is None else plain(self._sum)


class exact_cost(FunctionElement[Decimal]):  # noqa: N801 - as above
    """What quantities cost at the prices of a rate, like `rates.price`; NULL where there is no rate.

    Quantities in the order of `Quantities`, columns of `rates` in that of `PRICES`.
    """

    type = Exact()
    inherit_cache = True
    name = "exact_cost"

    def __init__(self, quantities: Iterable[ColumnElement[Any]], prices: Iterable[ColumnElement[Any]]) -> None:
        super().__init__(*quantities, *prices)


@compiles(exact_cost)
def _product(element: exact_cost, compiler: Any, **options: Any) -> str:
    parts = [compiler.process(part, **options) for part in element.clauses]
    own = {each.name: part for each, part in zip(CLASSES, parts[len(CLASSES) :], strict=True)}
    products = (f"{count} * {_margin(each, own)}" for each, count in zip(CLASSES, parts, strict=False))
    return f"(({' + '.join(products)}) * 0.001)"  # not / 1000, which would round


def _margin(each: Class, own: Mapping[str, str]) -> str:
    """What a unit costs beyond its parent, from the classes' own prices; NULL where there is no rate."""
    if each.name in REQUIRED:
        return own[each.name]
    return f"coalesce({own[each.name]}{'' if each.parent is None else f' - {price_of(each.parent, own)}'}, 0)"


def price_of(name: str, own: Mapping[str, str]) -> str:
    """The price that holds for the class, in SQL, from the classes' own: where it has none, its parent's."""
    parent = PARENTS[name]
    return own[name] if parent is None else f"coalesce({own[name]}, {price_of(parent, own)})"


@compiles(exact_cost, "sqlite")
def _cost_function(element: exact_cost, compiler: Any, **options: Any) -> str:
    return f"exact_cost({compiler.process(element.clauses, **options)})"


def cost(*parts: Any) -> str | None:
    """What SQLite calls by the name of `exact_cost`."""
    quantities, prices = parts[: len(CLASSES)], parts[len(CLASSES) :]
    rate = _rate(*prices)
    return None if rate is None else plain(price(Quantities(*quantities), rate).amount)


@lru_cache(maxsize=4096)
def _rate(*prices: str | None) -> Rate | None:
    """A rate of these prices; None where the first is missing, which every rate has."""
    if prices[0] is None:
        return None
    named: dict[str, Any] = {
        name: None if text is None else exact(text) for name, text in zip(PRICES, prices, strict=True)
    }
    return Rate(provider="", model="", currency="", period=Period(None, None), **named)
