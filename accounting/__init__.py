"""The books of a team that buys tokens: every LLM API call captured, priced exactly, rolled up and reported.

    import accounting
    from openai import OpenAI

    client = accounting.meter(OpenAI(), project="checkout")
    client.chat.completions.create(...)  # nothing else changes

Then, in a shell: `accounting report --by key`.
"""

from typing import TYPE_CHECKING, Any

from accounting.attribution import attribute
from accounting.client import AsyncMeteredTransport, MeteredTransport, flush, meter
from accounting.errors import (
    AccountingError,
    AlreadyMetered,
    CallInvalid,
    ConfigurationError,
    CurrencyMismatch,
    JournalUnavailable,
    RateCardError,
    SchemaMismatch,
    StoreError,
    StoreMissing,
    UnsupportedClient,
)
from accounting.usage import Usage

if TYPE_CHECKING:
    from accounting.httpx_clients import AsyncClient, Client

__version__ = "0.1.0"

__all__ = [
    "meter",
    "attribute",
    "Client",
    "AsyncClient",
    "MeteredTransport",
    "AsyncMeteredTransport",
    "flush",
    "Usage",
    "AccountingError",
    "AlreadyMetered",
    "CallInvalid",
    "ConfigurationError",
    "CurrencyMismatch",
    "JournalUnavailable",
    "RateCardError",
    "SchemaMismatch",
    "StoreError",
    "StoreMissing",
    "UnsupportedClient",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # httpx is imported for those who use its clients, not for everybody.
    if name in ("Client", "AsyncClient"):
        from accounting import httpx_clients

        return getattr(httpx_clients, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
