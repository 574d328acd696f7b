"""Which upstream a request is for.

Providers are data: the shipped `providers.toml`, and the user's own (`ACCOUNTING_PROVIDERS`, else
`providers.toml` in the data directory), which wins. A host nobody lists is its own provider, unpriced.
"""

import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from accounting.errors import ConfigurationError
from accounting.places import data_directory

SHIPPED = Path(__file__).with_name("providers.toml")


def provider_of(host: str, port: int | None, names: Mapping[str, str]) -> str:
    """The provider's name; `names` is by host, or by `host:port` where a port was listed."""
    host = host.lower()
    if port is None:
        return names.get(host, host)
    return names.get(f"{host}:{port}") or names.get(host) or f"{host}:{port}"


def known_hosts() -> Mapping[str, str]:
    """Provider names by host, shipped and the user's own; read once a process for each file."""
    chosen = os.environ.get("ACCOUNTING_PROVIDERS")
    own = Path(chosen).expanduser() if chosen else data_directory() / "providers.toml"
    return _hosts(own, bool(chosen))


@cache
def _hosts(own: Path, required: bool) -> Mapping[str, str]:
    hosts = _read(SHIPPED)
    if required or own.is_file():
        hosts |= _read(own)
    return hosts


def _read(file: Path) -> dict[str, str]:
    try:
        entries = tomllib.loads(file.read_text("utf-8")).get("provider", [])
        return {host.lower(): entry["name"] for entry in entries for host in _listed(entry["hosts"])}
    except OSError as error:
        raise ConfigurationError(f"Can't read the providers file {file}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f'{file} is no providers file ({error}); expected [[provider]] with name = "…" and hosts = ["…"].'
        ) from error


def _listed(hosts: list[str]) -> list[str]:
    if not isinstance(hosts, list):
        raise TypeError(f"hosts = {hosts!r}")
    return hosts
