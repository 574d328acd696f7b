"""What was appended to the books and counts no more: it is never edited, but withdrawn, and stays."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from accounting.errors import RateCardError

COLUMNS = ("withdrawn_at", "withdrawn_by", "withdrawn_why")


class Withdrawable(Protocol):
    """A line of the books; all three are None while it counts."""

    @property
    def withdrawn_at(self) -> datetime | None: ...
    @property
    def withdrawn_by(self) -> str | None: ...
    @property
    def withdrawn_why(self) -> str | None: ...


def withdraw(conn: Connection, table: Table, ids: Iterable[int], now: datetime, by: str, why: str) -> None:
    """Note that these lines count no more. Whether they did is the caller's to know."""
    said = dict(zip(COLUMNS, (now, by, why), strict=True))
    if rows := [{"line": id_} for id_ in ids]:
        conn.execute(sa.update(table).where(table.c.id == sa.bindparam("line")).values(said), rows)


def refuse_gone(lines: Mapping[int, Withdrawable], ids: Collection[int], what: str, listing: str) -> None:
    """Raises `RateCardError` where one of the ids is not among the lines, or that line is withdrawn.

    `what` they are and the command that shows them are for the message, which also has a line's own text.
    """
    if unknown := sorted(set(ids) - lines.keys()):
        raise RateCardError(f"There is no {what} {', '.join(map(str, unknown))} in the books. See their ids: {listing}")
    for id_, line in lines.items():
        if line.withdrawn_at is not None:
            raise RateCardError(
                f"{what.capitalize()} {id_}, {line}, was withdrawn already, on {line.withdrawn_at:%Y-%m-%d}"
                f"{by_whom(line.withdrawn_by, line.withdrawn_why)}. Nothing was changed; leave it out. "
                f"Those in force: {listing}"
            )


def by_whom(who: str | None, why: str | None) -> str:
    """To be set behind what was done, or when."""
    return (f" by {who}" if who else "") + (f": {why}" if why else "")
