"""Where things are on this machine: the store's URL, the journals. Read from the environment on each call.

The capture side reads nothing else from outside, so an application needs no settings object of ours.
"""

import hashlib
import os
import re
from pathlib import Path


def data_directory() -> Path:
    """`ACCOUNTING_DATA_DIR`, else the user's data directory for this program."""
    if chosen := os.environ.get("ACCOUNTING_DATA_DIR"):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("accounting", appauthor=False)


def store_url() -> str:
    """`ACCOUNTING_STORE_URL`, else a SQLite file in the data directory."""
    url = os.environ.get("ACCOUNTING_STORE_URL")
    if not url:
        return sqlite_url(data_directory() / "books.sqlite3")
    # A relative path would be another store, and another set of journals, in each working directory.
    scheme, _, path = url.partition(":///")
    is_relative_file = scheme.startswith("sqlite") and path and not Path(path).is_absolute() and path != ":memory:"
    return f"{scheme}:///{Path(path).absolute().as_posix()}" if is_relative_file else url


def sqlite_url(file: Path) -> str:
    return f"sqlite:///{file.absolute().as_posix()}"


def without_secret(url: str) -> str:
    """The URL without user, password and query: how a journal names its destination."""
    # As SQLAlchemy reads it: a password ends at the first "@", and may have "/" and "?" in it.
    return re.sub(r"://[^:/]*(:[^@]*)?@", "://", url, count=1).partition("?")[0]


def journal_directory(url: str) -> Path:
    """The folder of the journals that are to be delivered to the store at the URL.

    One folder a destination: only a process with the same one continues another's journal.
    """
    root = os.environ.get("ACCOUNTING_JOURNAL_DIR")
    base = Path(root).expanduser().absolute() if root else data_directory() / "journals"
    return base / hashlib.sha256(without_secret(url).encode()).hexdigest()[:12]
