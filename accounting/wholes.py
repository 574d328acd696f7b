"""What of a usage is part of what, and the most that a part can be, whoever wrote it down.

The formats hold the parts of an answer's usage within their wholes. Another program may deliver what it likes, and a
part that is larger than its whole would be charged for as less than nothing.
"""

from collections.abc import Mapping
from typing import Any

from accounting.usage import COUNTED, Usage, UsageSource, counted

_PARTS: Mapping[str, Mapping[str, str]] = {
    "input_tokens": {
        "cache_read_tokens": "cached_exceeds_input",
        "cache_write_tokens": "cache_write_exceeds_input",
        "audio_input_tokens": "audio_exceeds_input",
        "image_input_tokens": "images_exceed_input",
    },
    "cache_write_tokens": {"cache_write_1h_tokens": "cache_write_1h_exceeds_cache_write"},
    "output_tokens": {
        "reasoning_tokens": "reasoning_exceeds_output",
        "audio_output_tokens": "audio_exceeds_output",
        "image_output_tokens": "images_exceed_output",
    },
}
"""The parts of each whole, in the order in which they are taken out of it, and the anomaly of one that is too large."""


def plausible(usage: Usage) -> Usage:
    """The usage as books can hold it: stated, not estimated, and its parts at most what is left of their wholes.

    A part of something unknown is unknown, too. With any count it is known in part, and not missing.
    """
    if usage.source is UsageSource.ESTIMATED:
        return usage._replace(source=UsageSource.MISSING, **_NOTHING)
    if usage.source is UsageSource.MISSING and any(counted(usage)):
        usage = usage._replace(source=UsageSource.PARTIAL)
    return usage if _adds_up(usage) else _held(usage)


_NOTHING: Any = dict.fromkeys(COUNTED)


def _adds_up(usage: Usage) -> bool:
    """Every call that is stored is looked at, so in one go and not by the table."""
    tokens_in, read, written, out, thought, kept, heard, seen, spoken, drawn = counted(usage)[:_TOKENS]
    if kept and kept > (written or 0):
        return False
    within = (read or 0) + (written or 0) + (heard or 0) + (seen or 0) <= (tokens_in or 0)
    return within and (thought or 0) + (spoken or 0) + (drawn or 0) <= (out or 0)


_TOKENS = COUNTED.index("image_output_tokens") + 1


def _held(usage: Usage) -> Usage:
    counts: dict[str, Any] = dict(zip(COUNTED, counted(usage), strict=True))
    off: list[str] = []
    for whole, parts in _PARTS.items():
        left = counts[whole]
        for part, anomaly in parts.items():
            if (counts[part] or 0) > (left or 0):
                counts[part] = left
                off.append(anomaly)
            left = None if left is None else left - (counts[part] or 0)
    return usage._replace(anomalies=(*usage.anomalies, *off), **counts)
