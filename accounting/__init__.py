"""The books of a team that buys tokens: every LLM API call captured, priced exactly, rolled up and reported.

    import accounting
    from openai import OpenAI

    client = accounting.meter(OpenAI(), project="checkout")
    client.chat.completions.create(...)  # nothing else changes

Then, in a shell: `accounting report --by key`.

For the usage of a response alone, without any books:

    accounting.extract(response.content)  # Usage(input_tokens=…, output_tokens=…, …)
    accounting.read(response.content)  # Answer(model=…, usage=…, sub_calls=…, …): all that it says of itself
"""

from importlib import import_module
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
    from accounting.extraction import extract, read
    from accounting.formats import Answer, SubCall
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
    "extract",
    "read",
    "Usage",
    "Answer",
    "SubCall",
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


_LATE = {
    "Client": "accounting.httpx_clients",
    "AsyncClient": "accounting.httpx_clients",
    "extract": "accounting.extraction",
    "read": "accounting.extraction",
    "Answer": "accounting.formats",
    "SubCall": "accounting.formats",
}
"""Imported for those who use them, not for everybody: httpx, and every wire format."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(_LATE[name]), name)
    return found
