"""The names and values of a JSON object as rows, on both databases."""

from typing import Any

from sqlalchemy import ColumnElement, TableValuedAlias
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


def each_pair(column: ColumnElement[Any]) -> TableValuedAlias:
    """A row for each pair of the object of texts in the column, with columns `key` and `value`; to select from."""
    return _each(column).table_valued("key", "value", joins_implicitly=True).alias("each_pair")


class _each(FunctionElement[Any]):  # noqa: N801 - stands for a SQL function
    inherit_cache = True
    name = "json_each"

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column)


@compiles(_each)
def _json_each(element: _each, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_each, "postgresql")
def _jsonb_each_text(element: _each, compiler: Any, **options: Any) -> str:
    return f"jsonb_each_text({compiler.process(element.clauses, **options)})"
