"""A look into a store without loading what reads it: at which edition it is, and whether any budget binds; no more.

Loading that takes half a second and more, for which a program's first call would wait, though nothing has changed since
this host knew which budgets there are, or none of them stops a call.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from accounting import places

_SECONDS = 0.1
"""How long is waited at most for somebody who has the file to himself."""

_BINDS = "EXISTS (SELECT 1 FROM budgets WHERE mode <> 'soft' AND removed_at IS NULL AND paused_at IS NULL)"


@dataclass(frozen=True, slots=True)
class Glimpse:
    """The edition as `Coverage.edition` has it, and whether a budget is in force that stops calls."""

    edition: tuple[int, int]
    binds: bool


def look(url: str) -> Glimpse | None:
    """None where it can't be told so cheaply."""
    file = places.sqlite_file(url)
    if file is None:
        return None
    asked = f"SELECT budgets_edition, rates_edition, {_BINDS} FROM store"  # noqa: S608 - all of it stands here
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as conn:
            budgets, rates, binds = conn.execute(asked).fetchone()
    except (sqlite3.Error, OSError, TypeError, ValueError):  # locked, older, or none at all
        return None
    return Glimpse((budgets, rates), bool(binds))
