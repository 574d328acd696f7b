"""Names that are like one that nobody has: what may have been meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def near(name: str, names: Iterable[str], least: float = 0.6, most: int = 3) -> list[str]:
    """Those that are spelt nearly alike, in whatever case; the nearest first. `least` is from 0, for any, to 1."""
    spelt: dict[str, list[str]] = {}
    for each in names:
        spelt.setdefault(each.casefold(), []).append(each)
    found = get_close_matches(name.casefold(), spelt, most, least)
    return [each for like in found for each in spelt[like]][:most]
