"""Metering a client: one line, and nothing else changes.

What does the work is imported by the first client that is metered, not by everybody who imports the package.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from accounting.attribution import clean_tags, project_name
from accounting.errors import AlreadyMetered, ConfigurationError, UnsupportedClient
from accounting.usage import clean

if TYPE_CHECKING:
    from accounting.capture import Metering
    from accounting.thresholds import OnBudget

C = TypeVar("C")


def meter(
    client: C,
    *,
    project: str | None = None,
    tags: Mapping[str, str] | None = None,
    provider: str | None = None,
    ask_for_usage: bool = True,
    on_budget: "OnBudget | None" = None,
) -> C:
    """Meter every call of the client from here on; wraps it in place and returns it.

    `client` is an httpx or httpx2 client, sync or async, or an SDK's that keeps such clients in itself: OpenAI's,
    Anthropic's, Google's (google-genai), Mistral's, Cohere's, Groq's, Together's and others. Its own transport,
    proxies, mounts, TLS, limits and timeouts stay: ours goes around what is there. What is derived from it
    (`with_options()`) shares its transport, and so is metered too. google-genai makes asynchronous calls with aiohttp
    where that is installed, which nothing here sees; it is logged what to do then.

    `project` is who pays, unless `attribute()` says otherwise; `provider` names the upstream where its host does
    not tell, in any case of letters where it is a listed one. An OpenAI stream that did not ask for its usage is
    made to, and the extra event is taken out again; `ask_for_usage=False` leaves such streams alone, and their
    usage unknown.

    Metering a client again in the same way changes nothing; in another way raises `AlreadyMetered`. What can't
    be metered raises `UnsupportedClient`.

    A call that a hard budget refuses is not sent. An SDK's user meets an answer of status 402 in the provider's own
    shape, which no SDK retries, and `budget_exceeded(error)` reads; of a client of httpx or httpx2 it is
    `BudgetExceeded` that is raised. `on_budget(state, percent)` is called once in each process for each budget, period
    and threshold that a budget which covers calls of this client reaches: in a thread for such calls, one by one.
    """
    from accounting.insides import http_clients
    from accounting.transports import Metered

    found = http_clients(client)
    metering = replace(_metering(project, tags, provider, ask_for_usage, on_budget), is_of_sdk=found != [client])
    for http in found:
        for transport in (http._transport, *http._mounts.values()):
            if isinstance(transport, Metered):
                _refuse_other(transport.metering, metering)
    for http in found:
        _wrap(http, metering)
    return client


def _wrap(http: Any, metering: "Metering") -> None:
    from accounting.transports import Metered, library_of, transports

    library = library_of(http)
    kind = transports(library)[isinstance(http, library.AsyncClient)]

    def around(transport: Any) -> Any:
        if isinstance(transport, Metered):
            transport.metering = replace(metering, is_of_sdk=transport.metering.is_of_sdk or metering.is_of_sdk)
        return transport if transport is None or isinstance(transport, Metered) else kind(transport, metering)

    http._transport = around(http._transport)
    http._mounts = {pattern: around(mounted) for pattern, mounted in http._mounts.items()}
    of_loop = getattr(http, "_client_for_running_loop", None)
    if of_loop is not None and not isinstance(of_loop, _OfEachLoop):
        http._client_for_running_loop = _OfEachLoop(of_loop, metering)


class _OfEachLoop:
    """google-genai sends through a client for each event loop, made when the loop first needs it: meters that one."""

    def __init__(self, of_loop: Callable[[], Any], metering: "Metering") -> None:
        self._of_loop = of_loop
        self._metering = metering
        self._metered: WeakSet[Any] = WeakSet()

    def __call__(self) -> Any:
        http = self._of_loop()
        if http not in self._metered:
            _wrap(http, self._metering)
            self._metered.add(http)
        return http


def MeteredTransport(  # noqa: N802 - used like the class it makes
    transport: Any = None,
    *,
    project: str | None = None,
    tags: Mapping[str, str] | None = None,
    provider: str | None = None,
    ask_for_usage: bool = True,
    on_budget: "OnBudget | None" = None,
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
    return _around(transport, 0, _metering(project, tags, provider, ask_for_usage, on_budget))


def AsyncMeteredTransport(  # noqa: N802 - used like the class it makes
    transport: Any = None,
    *,
    project: str | None = None,
    tags: Mapping[str, str] | None = None,
    provider: str | None = None,
    ask_for_usage: bool = True,
    on_budget: "OnBudget | None" = None,
) -> Any:
    """`MeteredTransport` for `AsyncClient`."""
    if transport is None:
        import httpx

        transport = httpx.AsyncHTTPTransport()
    return _around(transport, 1, _metering(project, tags, provider, ask_for_usage, on_budget))


def flush(timeout: float = 10.0) -> bool:
    """Deliver every call that has ended by now to the store; whether that was done within the seconds.

    Not needed for safety: calls are in the journal already, and go out within a second, and at exit.
    """
    from accounting.recorder import recorder

    return recorder().flush(timeout)


def _metering(
    project: str | None,
    tags: Mapping[str, str] | None,
    provider: str | None,
    ask_for_usage: bool,
    on_budget: "OnBudget | None",
) -> "Metering":
    from accounting.capture import Metering
    from accounting.places import budget_seconds, budgets_required, journal_settings
    from accounting.providers import known_hosts, provider_name

    # A value that can't be used is told here, not counted at each call.
    journal_settings(), budget_seconds(), budgets_required()
    if on_budget is not None and not (callable(on_budget) and isinstance(on_budget, Hashable)):
        raise ConfigurationError(f"on_budget is {on_budget!r}; expected a function of a state and a threshold.")
    hosts = known_hosts()
    named = clean(provider_name(provider, hosts))
    return Metering(project_name(project), clean_tags(tags), named, ask_for_usage, hosts, on_budget)


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


def _refuse_other(there: "Metering", asked: "Metering") -> None:
    if there != asked:
        raise AlreadyMetered(
            f"This client is metered already, with {_told(there)}; now asked for {_told(asked)}. "
            "For some of its calls say `with accounting.attribute(project=…, tags=…):` instead."
        )


def _told(metering: "Metering") -> str:
    said = f"project={metering.project!r}, tags={dict(metering.tags)!r}, provider={metering.provider!r}"
    callback = "" if metering.on_budget is None else f", on_budget={metering.on_budget!r}"
    return f"{said}, ask_for_usage={metering.ask_for_usage!r}{callback}"
