"""The file in which a host keeps what its store has learned, so that an estimate before a call asks nobody.

Delivery fetches it seldom, whichever process of the host comes first; it lies beside the journals of the same store,
as two stores must not take each other's, and where journals can be written it can be, too.
"""

import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from uuid import uuid4

from accounting import places
from accounting.estimates import NOTHING, Snapshot

MAX_BYTES = 2**20
"""A longer file is none of ours."""

LOOKED_EVERY = 60.0
"""Seconds for which a snapshot that was read is taken as it is."""

FRESH_SECONDS = 600.0
"""A file that is younger is not fetched again."""


class Local:
    """The snapshot in a file of this host, looked at again at most once a minute; nothing learned where it is broken.

    May be asked from any thread: at worst two read the file at once.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._looked_at = -LOOKED_EVERY
        self._seen: tuple[int, int] | None = None
        self._snapshot = NOTHING

    def snapshot(self) -> Snapshot:
        now = self._clock()
        if now - self._looked_at >= LOOKED_EVERY:
            self._looked_at = now
            self._look()
        return self._snapshot

    def _look(self) -> None:
        try:
            status = self._file.stat()
            seen = (status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._snapshot = _read(self._file)
                self._seen = seen
        except (OSError, ValueError):
            self._snapshot, self._seen = NOTHING, None


def _read(file: Path) -> Snapshot:
    with file.open("rb") as stream:
        payload = stream.read(MAX_BYTES + 1)
    if len(payload) > MAX_BYTES:
        raise ValueError(f"{file} is longer than {MAX_BYTES} bytes")
    return Snapshot.decode(payload)


@cache
def local(url: str) -> Local:
    """What this host knows of what the store at the URL has learned."""
    return Local(file_of(url))


def current() -> Snapshot:
    """What this host knows of what its store has learned."""
    return local(places.store_url()).snapshot()


def file_of(url: str) -> Path:
    """Where the snapshot of the store at the URL lies on this host."""
    return places.journal_directory(url) / "estimates.json"


def refresh(file: Path, fetch: Callable[[], bytes | None], now: float) -> None:
    """Put what `fetch` gets in the file's place, unless it is fresh; nobody sees half of it. `now` is Unix time."""
    if _is_fresh(file, now):
        return
    payload = fetch()
    if payload is not None:
        put(file, payload)


def _is_fresh(file: Path, now: float) -> bool:
    try:
        return abs(now - file.stat().st_mtime) < FRESH_SECONDS
    except OSError:
        return False


def put(file: Path, payload: bytes) -> None:
    """Write the file in one step, for its owner alone."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{uuid4().hex}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(payload)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
