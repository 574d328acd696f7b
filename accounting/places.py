"""Where the store and the journals are on this machine, and how journals are kept: read from the environment.

The capture side reads nothing else from outside, so an application needs no settings object of ours.
"""

import hashlib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from accounting.errors import ConfigurationError


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


LIKE_SQLITE = "sqlite:////var/lib/accounting/books.sqlite3"
LIKE_POSTGRESQL = "postgresql+psycopg://user@host/database (its password in PGPASSWORD or ~/.pgpass)"
LIKE = f"like {LIKE_SQLITE} or {LIKE_POSTGRESQL}."

_KINDS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql",
    "postgresql+psycopg": "postgresql",
    "postgres": "postgresql",  # as many hosters of databases spell it
}


def kind(url: str, given_by: str = "ACCOUNTING_STORE_URL") -> str:
    """`sqlite` or `postgresql`: which database the URL names. Shows nothing of it but its scheme, and who gave it."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ConfigurationError(f"{given_by} is no URL; expected one {LIKE}")
    if scheme not in _KINDS:
        raise ConfigurationError(f"{given_by} begins with {scheme!r}; expected one {LIKE}")
    return _KINDS[scheme]


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite store; None where the URL names no such file."""
    scheme, _, path = url.partition("?")[0].partition(":///")
    is_file = _KINDS.get(scheme) == "sqlite" and path not in ("", ":memory:") and not path.startswith("file:")
    return Path(path).absolute() if is_file else None


def is_absent(url: str) -> bool:
    """Whether the URL names a SQLite file that is not there; looked at without loading anything."""
    file = sqlite_file(url)
    return file is not None and not file.exists()


def without_secret(url: str) -> str:
    """The URL without user, password, driver and options: how a journal names its destination.

    Of the options those stay that say where it is, as they may be all that tells two stores apart.
    """
    # As SQLAlchemy reads it a password ends at the first "@", and may have "/" and "?" in it. More of them is a
    # password that was not escaped, which nobody should see either.
    address, _, options = re.sub(r"://[^:/]*(:[^@]*)?@([^?]*@)?", "://", url, count=1).partition("?")
    where = "&".join(option for option in options.split("&") if option.partition("=")[0] in _WHERE)
    scheme, separator, place = address.partition("://")
    return _KINDS.get(scheme, scheme.partition("+")[0]) + separator + place + (f"?{where}" if where else "")


_WHERE = ("host", "hostaddr", "port", "dbname", "service", "options")
"""Which server, which database in it, and, by a search path among `options`, which schema."""


def journal_directory(url: str) -> Path:
    """The folder of the journals that are to be delivered to the store at the URL.

    One folder a destination: only a process with the same one continues another's journal.
    """
    root = os.environ.get("ACCOUNTING_JOURNAL_DIR")
    base = Path(root).expanduser().absolute() if root else data_directory() / "journals"
    return base / hashlib.sha256(without_secret(url).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """How journals are kept: `sync` "normal" or "full", the size that refuses new calls, whether a call that can't
    be written down may be sent, and how long delivered calls stay."""

    sync: str
    max_bytes: int
    required: bool
    keep: timedelta


def journal_settings() -> JournalSettings:
    """`ACCOUNTING_JOURNAL_…`; raises `ConfigurationError` for a value that can't be used."""
    return JournalSettings(
        sync=_chosen("ACCOUNTING_JOURNAL_SYNC", {"normal": "normal", "full": "full"}, "normal"),
        max_bytes=int(_number("ACCOUNTING_JOURNAL_MAX_MB", 1024) * 2**20),
        required=_chosen("ACCOUNTING_JOURNAL_REQUIRED", _YES_OR_NO, "false"),
        keep=timedelta(days=_number("ACCOUNTING_JOURNAL_KEEP_DAYS", 7)),
    )


def budget_seconds() -> float:
    """`ACCOUNTING_BUDGET_SECONDS`: how long a call waits at most for its budgets' answer, once it has asked.

    Raises `ConfigurationError` for a value that can't be used.
    """
    return _number("ACCOUNTING_BUDGET_SECONDS", 5)


def budgets_required() -> bool:
    """`ACCOUNTING_BUDGETS_REQUIRED`: whether calls are refused as long as nobody could say which budgets there are.

    Raises `ConfigurationError` for a value that can't be used.
    """
    return _chosen("ACCOUNTING_BUDGETS_REQUIRED", _YES_OR_NO, "false")


_YES_OR_NO = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_LARGEST = 1_000_000

T = TypeVar("T")


def _chosen(name: str, choices: Mapping[str, T], default: str) -> T:
    text = os.environ.get(name, "").strip().lower() or default
    if text not in choices:
        raise ConfigurationError(f"{name} is {text!r}; expected one of {', '.join(choices)}.")
    return choices[text]


def _number(name: str, default: int) -> float:
    text = os.environ.get(name, "").strip() or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= _LARGEST:
        raise ConfigurationError(f"{name} is {text!r}; expected a number from 0 up, like {default}.")
    return number
