"""Which file systems are shared between hosts. Linux tells; elsewhere nothing is known and nothing refused."""

import re
from pathlib import Path

from accounting import places
from accounting.errors import ConfigurationError

TABLE = Path("/proc/self/mountinfo")

_NETWORK = frozenset((
    "afs", "beegfs", "blobfuse2", "ceph", "ceph-fuse", "cephfs", "cifs", "coda", "davfs", "davfs2", "gcsfuse",
    "glusterfs", "goofys", "gpfs", "juicefs", "lustre", "moosefs", "ncpfs", "nfs", "nfs4", "orangefs", "rclone", "s3fs",
    "smb3", "smbfs", "smbnetfs", "sshfs",
))  # fmt: skip
"""Kinds that several hosts can mount at once; the same by way of FUSE."""


def refuse_network(file: Path) -> None:
    """Raise for a SQLite file on a network file system: locks and shared memory don't hold between hosts there."""
    kind = file_system(file, _table()) or ""
    if kind.removeprefix("fuse.") in _NETWORK:
        raise ConfigurationError(
            f"The store {file} is on a network file system ({kind}), where SQLite can lose what it was told to keep. "
            "Set ACCOUNTING_STORE_URL to a file on a local disk, or, for several hosts, to PostgreSQL, "
            f"like {places.LIKE_POSTGRESQL}."
        )


def file_system(file: Path, table: str) -> str | None:
    """The kind of file system the file is on, or would be, by a table as in /proc/self/mountinfo."""
    mounts = [_mount(line) for line in table.splitlines() if " - " in line]
    # The innermost; of two at one place the later, which lies over the earlier.
    over = [(len(place.parts), order, kind) for order, (place, kind) in enumerate(mounts) if file.is_relative_to(place)]
    return max(over)[2] if over else None


def _mount(line: str) -> tuple[Path, str]:
    """Where it is mounted and what kind it is, of a line like `31 22 0:45 / /mnt/a\\040b rw shared:7 - nfs4 …`."""
    mount, _, kind = line.partition(" - ")
    place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mount.split(" ")[4])
    return Path(place), kind.split(" ")[0]


def _table() -> str:
    try:
        return TABLE.read_text(errors="surrogateescape")
    except OSError:
        return ""
