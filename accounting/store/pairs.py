"""The names and values of a JSON object, or the texts of a JSON array, as rows, on both databases."""

from typing import Any

from sqlalchemy import ColumnElement, TableValuedAlias
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


def each_pair(column: ColumnElement[Any]) -> TableValuedAlias:
    """A row for each pair of the object of texts in the column, with columns `key` and `value`; to select from."""
    return _each(column).table_valued("key", "value", joins_implicitly=True).alias("each_pair")


def each_text(column: ColumnElement[Any]) -> TableValuedAlias:
    """A row for each of the texts in the array in the column, with the column `value`; to select from."""
    return _each_of(column).table_valued("value", joins_implicitly=True).alias("each_text")


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


class _each_of(_each):  # noqa: N801 - as above
    inherit_cache = True


@compiles(_each_of, "postgresql")
def _jsonb_array_elements_text(element: _each_of, compiler: Any, **options: Any) -> str:
    return f"jsonb_array_elements_text({compiler.process(element.clauses, **options)})"
