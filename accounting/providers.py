"""Which upstream a request is for.

Providers are data: the shipped `providers.toml`, and the user's own (`ACCOUNTING_PROVIDERS`, else
`providers.toml` in the data directory), which wins. A host nobody lists is its own provider, unpriced.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from accounting.errors import ConfigurationError
from accounting.places import data_directory

SHIPPED = Path(__file__).with_name("providers.toml")

MAX_REMEMBERED = 1000
"""Hosts whose pattern is remembered; a process calls few, and what calls more pays the search each time."""


class Hosts(dict[str, str]):
    """Provider names by host, or by `host:port`; beside them those of patterns, for hosts that aren't listed."""

    def __init__(self, exact: Mapping[str, str], patterns: list[tuple[re.Pattern[str], str]]) -> None:
        super().__init__(exact)
        self._patterns = patterns
        self._remembered: dict[str, str] = {}

    @property
    def names(self) -> frozenset[str]:
        """All that are listed, for a host or for a pattern."""
        return frozenset((*self.values(), *(name for _, name in self._patterns)))

    def like(self, host: str) -> str:
        """The name of the first pattern that fits; empty where none does."""
        name = self._remembered.get(host)
        if name is None:
            name = next((name for pattern, name in self._patterns if pattern.fullmatch(host)), "")
            if len(self._remembered) < MAX_REMEMBERED:
                self._remembered[host] = name
        return name


def provider_of(host: str, port: int | None, names: Mapping[str, str]) -> str:
    """The provider's name; `names` is by host, or by `host:port` where a port was listed. A listed host goes before
    a pattern."""
    host = host.lower()
    if port is None:
        return names.get(host) or _like(names, host) or host
    here = f"{host}:{port}"
    return names.get(here) or names.get(host) or _like(names, here) or _like(names, host) or here


def is_listed(host: str, port: int | None, names: Mapping[str, str]) -> bool:
    """Whether the host is a provider's, by the lists."""
    return provider_of(host, port, names) not in (host.lower(), f"{host.lower()}:{port}")


def provider_name(given: str | None, hosts: Hosts) -> str | None:
    """A provider's name as it is listed, whatever its case; one that is not listed stays as it was given."""
    if given is None:
        return None
    name = given.strip() if isinstance(given, str) else ""
    if not name or not name.isprintable():
        raise ConfigurationError(f'provider={given!r}: expected a name like "openai", or leave it out.')
    return next((listed for listed in hosts.names if listed.casefold() == name.casefold()), name)


def _like(names: Mapping[str, str], host: str) -> str:
    return names.like(host) if isinstance(names, Hosts) else ""


def known_hosts() -> Hosts:
    """Provider names by host, shipped and the user's own; read once a process for each file."""
    return _hosts(own_file(), bool(os.environ.get("ACCOUNTING_PROVIDERS")))


def own_file() -> Path:
    """The user's own list; it need not be there, unless it was chosen."""
    chosen = os.environ.get("ACCOUNTING_PROVIDERS")
    return Path(chosen).expanduser() if chosen else data_directory() / "providers.toml"


@cache
def _hosts(own: Path, required: bool) -> Hosts:
    return merged(_read(own) if required or own.is_file() else {}, _read(SHIPPED))


def merged(own: Mapping[str, str], shipped: Mapping[str, str]) -> Hosts:
    """Two lists as one: a host or a pattern of one's own goes before any that is shipped, a longer pattern before a
    shorter one."""
    mine = _patterns(own)
    left = {host: name for host, name in shipped.items() if not any(pattern.fullmatch(host) for pattern, _ in mine)}
    exact = {host: name for host, name in {**left, **own}.items() if "*" not in host}
    return Hosts(exact, [*mine, *_patterns(shipped)])


def _patterns(names: Mapping[str, str]) -> list[tuple[re.Pattern[str], str]]:
    longest_first = sorted((host for host in names if "*" in host), key=len, reverse=True)
    return [(re.compile(re.escape(host).replace(r"\*", r"[^:]+")), names[host]) for host in longest_first]


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
