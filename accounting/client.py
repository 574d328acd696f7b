"""Metering a client: one line, and nothing else changes.

What does the work is imported by the first client that is metered, not by everybody who imports the package.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from accounting.attribution import clean_tags, project_name
from accounting.errors import AlreadyMetered, UnsupportedClient
from accounting.usage import clean

if TYPE_CHECKING:
    from accounting.capture import Metering

C = TypeVar("C")


def meter(
    client: C,
    *,
    project: str | None = None,
    tags: Mapping[str, str] | None = None,
    provider: str | None = None,
    ask_for_usage: bool = True,
) -> C:
    """Meter every call of the client from here on; wraps it in place and returns it.

    `client` is an OpenAI or Anthropic SDK client, or an httpx or httpx2 one, sync or async. Its own transport,
    proxies, mounts, TLS, limits and timeouts stay: ours goes around what is there. What is derived from it
    (`with_options()`) shares its transport, and so is metered too.

    `project` is who pays, unless `attribute()` says otherwise; `provider` names the upstream where its host does
    not tell. An OpenAI stream that did not ask for its usage is made to, and the extra event is taken out
    again; `ask_for_usage=False` leaves such streams alone, and their usage unknown.

    Metering a client again in the same way changes nothing; in another way raises `AlreadyMetered`. What can't
    be metered raises `UnsupportedClient`.
    """
    from accounting.transports import Metered, library_of, transports

    metering = _metering(project, tags, provider, ask_for_usage)
    http = _http_client(client)
    for transport in (http._transport, *http._mounts.values()):
        if isinstance(transport, Metered):
            _refuse_other(transport.metering, metering)
    library = library_of(http)
    kind = transports(library)[isinstance(http, library.AsyncClient)]

    def around(transport: Any) -> Any:
        return transport if transport is None or isinstance(transport, Metered) else kind(transport, metering)

    http._transport = around(http._transport)
    http._mounts = {pattern: around(mounted) for pattern, mounted in http._mounts.items()}
    return client


def MeteredTransport(  # noqa: N802 - used like the class it makes
    transport: Any = None,
    *,
    project: str | None = None,
    tags: Mapping[str, str] | None = None,
    provider: str | None = None,
    ask_for_usage: bool = True,
) -> Any:
    """A transport of httpx or httpx2 that meters what passes through the one given.

    Hand it to a client of the same library: `httpx.Client(transport=MeteredTransport(httpx.HTTPTransport()))`.
    A client with a transport of its own ignores its `verify`, `http2`, `limits` and the proxies of the environment:
    give them to the inner transport, or use `meter(client)`, which keeps them. Without an argument it goes
    around a plain `httpx.HTTPTransport()`.
    """
    if transport is None:
        import httpx

        transport = httpx.HTTPTransport()
    return _around(transport, 0, _metering(project, tags, provider, ask_for_usage))


def AsyncMeteredTransport(  # noqa: N802 - used like the class it makes
    transport: Any = None,
    *,
    project: str | None = None,
    tags: Mapping[str, str] | None = None,
    provider: str | None = None,
    ask_for_usage: bool = True,
) -> Any:
    """`MeteredTransport` for `AsyncClient`."""
    if transport is None:
        import httpx

        transport = httpx.AsyncHTTPTransport()
    return _around(transport, 1, _metering(project, tags, provider, ask_for_usage))


def flush(timeout: float = 10.0) -> bool:
    """Deliver every call that has ended by now to the store; whether that was done within the seconds.

    Not needed for safety: calls are in the journal already, and go out within a second, and at exit.
    """
    from accounting.recorder import recorder

    return recorder().flush(timeout)


def _metering(
    project: str | None, tags: Mapping[str, str] | None, provider: str | None, ask_for_usage: bool
) -> "Metering":
    from accounting.capture import Metering
    from accounting.places import journal_settings
    from accounting.providers import known_hosts

    journal_settings()  # a value that can't be used is told here, not counted at each call
    return Metering(project_name(project), clean_tags(tags), clean(provider), ask_for_usage, known_hosts())


def _around(transport: Any, colour: int, metering: "Metering") -> Any:
    from accounting.transports import library_of, transports

    library = library_of(transport)
    wanted = (library.BaseTransport, library.AsyncBaseTransport)[colour]
    if not isinstance(transport, wanted):
        raise UnsupportedClient(
            f"{type(transport).__qualname__} is no {library.__name__}.{wanted.__name__}. "
            "Use MeteredTransport for a Client's transport and AsyncMeteredTransport for an AsyncClient's."
        )
    return transports(library)[colour](transport, metering)


def _http_client(client: Any) -> Any:
    """The HTTP client to wrap: the argument itself, or the one inside an SDK client."""
    from accounting.transports import library_of

    http = client if hasattr(client, "_transport") else getattr(client, "_client", client)
    library_of(http)  # raises for what is none
    if not hasattr(http, "_transport") or not hasattr(http, "_mounts"):
        raise UnsupportedClient(
            f"{type(http).__module__}.{type(http).__qualname__} keeps its transport somewhere else than the versions "
            "this program knows. Give it MeteredTransport(...) as its transport instead."
        )
    return http


def _refuse_other(there: "Metering", asked: "Metering") -> None:
    if there != asked:
        raise AlreadyMetered(
            f"This client is metered already, with {_told(there)}; now asked for {_told(asked)}. "
            "For some of its calls say `with accounting.attribute(project=…, tags=…):` instead."
        )


def _told(metering: "Metering") -> str:
    said = f"project={metering.project!r}, tags={dict(metering.tags)!r}, provider={metering.provider!r}"
    return f"{said}, ask_for_usage={metering.ask_for_usage!r}"
