"""Editions of what running programs keep a copy of: another number tells them to look again."""

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.store.tables import store


def budgets_changed(conn: Connection) -> None:
    """Budgets, or what decides which of them cover a call: names and zones of projects, and who pays for a key."""
    conn.execute(sa.update(store).values(budgets_edition=store.c.budgets_edition + 1))
