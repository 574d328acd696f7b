"""How lines that were withdrawn are shown: when, by whom and why."""

from typing import Any

from accounting.sheets import instant
from accounting.store.withdrawals import COLUMNS, Withdrawable, by_whom


def withdrawal(line: Withdrawable) -> str | None:
    """None for a line that is in force."""
    at = line.withdrawn_at
    return None if at is None else f"{instant(at)}{by_whom(line.withdrawn_by, line.withdrawn_why)}"


def withdrawal_fields(line: Withdrawable) -> dict[str, Any]:
    """For programs; null for a line that is in force."""
    return {name: getattr(line, name) for name in COLUMNS}
