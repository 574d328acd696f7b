"""Adding money in SQL, to the last digit on both databases."""

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from accounting.money import EXACT, exact, plain
from accounting.store.types import Exact


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
