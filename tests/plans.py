"""How a database goes about a query: by a range of an index, or by reading everything."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, event

from accounting.store import is_postgresql, reading


def plans(engine: Engine, work: Callable[[Connection], Any]) -> list[str]:
    """The plan of each statement of the work, in order.

    PostgreSQL is kept from reading whole tables where it need not, which it prefers while they are small.
    """
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with reading(engine) as conn:
        event.listen(conn.engine, "before_cursor_execute", note)
        work(conn)
        event.remove(conn.engine, "before_cursor_execute", note)
        if is_postgresql(conn):
            conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return [_plan(conn, *one) for one in asked]


def _plan(conn: Connection, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN" if is_postgresql(conn) else "EXPLAIN QUERY PLAN"
    return "\n".join(str(row[-1]) for row in conn.exec_driver_sql(f"{explain} {statement}", parameters))
