"""What people type, read: counts, numbers and instants."""

import re
from datetime import UTC, datetime
from decimal import Decimal

from accounting.errors import ConfigurationError
from accounting.money import EXACT, exact
from accounting.usage import MAX_COUNT

_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
"""One that every database holds."""

_UNITS = {"k": 10**3, "m": 10**6}


def count(text: str, option: str) -> int:
    """A count as people write it: 1500, 1,500, 200k, 1.5M. `option` is where it was said."""
    plain_text = text.strip().lower().replace(",", "").replace("_", "")
    digits, unit = (plain_text[:-1], plain_text[-1]) if plain_text[-1:] in _UNITS else (plain_text, "")
    try:
        found = EXACT.multiply(exact(digits), _UNITS.get(unit, 1))
    except ValueError:
        found = Decimal(-1)
    if found > MAX_COUNT:
        raise ConfigurationError(f"{option} {text!r} is too much; expected a whole number from 0 to {MAX_COUNT:,}.")
    if found != found.to_integral_value() or found < 0:
        raise ConfigurationError(f"{option} {text!r} is no count; expected one like 1500, 200k or 1.5M.")
    return int(found)


def number(text: str, option: str) -> int:
    """The number of something in the books, from 1."""
    if not _NUMBER.fullmatch(text):
        raise ConfigurationError(f"{option} {text!r} is no number of the list; expected one like 12.")
    return int(text)


def instant(text: str, option: str) -> datetime:
    """A time with its offset, or a day, which begins at midnight UTC, as on a rate card."""
    try:
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is None and len(text.strip()) > len("2026-11-23"):
            raise ConfigurationError(f"{option} {text!r} says not where; add the offset, like 2026-11-23T10:00+08:00.")
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"{option} {text!r} is no time; expected one like 2026-11-23T10:00+08:00, or a day like 2026-11-23."
        ) from error
