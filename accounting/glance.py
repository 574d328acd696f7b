"""A look into a store without loading what reads it: which edition of its budgets and rates it is at, and no more.

Loading that takes half a second and more, for which a program's first call would wait, though nothing has changed since
this host knew which budgets there are.
"""

import sqlite3
from contextlib import closing

from accounting import places

_SECONDS = 0.1
"""How long is waited at most for somebody who has the file to himself."""


def edition(url: str) -> tuple[int, int] | None:
    """As `Coverage.edition`; None where it can't be told so cheaply."""
    file = places.sqlite_file(url)
    if file is None:
        return None
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as conn:
            budgets, rates = conn.execute("SELECT budgets_edition, rates_edition FROM store").fetchone()
    except (sqlite3.Error, OSError, TypeError, ValueError):  # locked, older, or none at all
        return None
    return budgets, rates
