"""The file in which a host keeps which budgets bind, for processes that begin while the store is away.

It lies beside the journals of the same store. Every process refreshes it, and its time of change says when that was
done last: one that was refreshed just now spares the next process its first question.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from accounting import places, snapshots
from accounting.coverage import Coverage

MAX_BYTES = 16 * 2**20
"""A longer file is none of ours."""

FRESH_SECONDS = 5.0


def file_of(url: str) -> Path:
    """Where this host keeps which budgets of the store at the URL bind."""
    return places.journal_directory(url) / "budgets.json"


def known(file: Path) -> Coverage | None:
    """What was known last; None where nothing was, or it can't be read."""
    try:
        return Coverage.decode(_bytes(file))
    except (OSError, ValueError):
        return None


def is_fresh(file: Path) -> bool:
    """Whether a process of this host has just asked the store."""
    try:
        return abs(time.time() - file.stat().st_mtime) < FRESH_SECONDS
    except OSError:
        return False


def keep(file: Path, coverage: Coverage) -> None:
    """Put it in the file's place, or say that it still holds. Nobody sees half of it."""
    payload = coverage.encode()
    with suppress(OSError, ValueError):
        if _bytes(file) == payload:
            os.utime(file)
            return
    snapshots.put(file, payload)


def _bytes(file: Path) -> bytes:
    with file.open("rb") as stream:
        payload = stream.read(MAX_BYTES + 1)
    if len(payload) > MAX_BYTES:
        raise ValueError(f"{file} is longer than {MAX_BYTES} bytes")
    return payload
