"""The books of a team that buys tokens: every LLM API call captured, priced exactly, rolled up and reported.

    import accounting
    from openai import OpenAI

    client = accounting.meter(OpenAI(), project="checkout")
    client.chat.completions.create(...)  # nothing else changes

Then, in a shell: `accounting report --by key`.

For the usage of a response alone, and for what it costs, without any books:

    accounting.extract(response.content)  # Usage(input_tokens=…, output_tokens=…, …)
    accounting.price(accounting.extract(response.content), "z-ai/glm-5").total  # Money(amount=…, currency='CNY')
    accounting.read(response.content)  # Answer(model=…, usage=…, sub_calls=…, …): all that it says of itself
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from accounting.attribution import attribute
from accounting.client import AsyncMeteredTransport, MeteredTransport, flush, meter
from accounting.errors import (
    AccountingError,
    AlreadyMetered,
    BudgetExceeded,
    CallInvalid,
    ConfigurationError,
    CurrencyMismatch,
    JournalUnavailable,
    RateCardError,
    RateMissing,
    SchemaMismatch,
    StoreAway,
    StoreError,
    StoreMissing,
    UnsupportedClient,
    UsageInvalid,
    UsageMissing,
)
from accounting.usage import Usage

if TYPE_CHECKING:
    from accounting.charges import Charge, Part
    from accounting.decisions import BudgetState
    from accounting.extraction import extract, read
    from accounting.formats import Answer, SubCall
    from accounting.headroom import Headroom, remaining
    from accounting.httpx_clients import AsyncClient, Client
    from accounting.pricing import price, rate_book
    from accounting.refusals import budget_exceeded

__version__ = "0.1.0"

__all__ = [
    "meter",
    "attribute",
    "Client",
    "AsyncClient",
    "MeteredTransport",
    "AsyncMeteredTransport",
    "flush",
    "remaining",
    "Headroom",
    "BudgetState",
    "extract",
    "read",
    "price",
    "rate_book",
    "budget_exceeded",
    "Charge",
    "Part",
    "Usage",
    "Answer",
    "SubCall",
    "AccountingError",
    "AlreadyMetered",
    "BudgetExceeded",
    "CallInvalid",
    "ConfigurationError",
    "CurrencyMismatch",
    "JournalUnavailable",
    "RateCardError",
    "RateMissing",
    "SchemaMismatch",
    "StoreAway",
    "StoreError",
    "StoreMissing",
    "UnsupportedClient",
    "UsageInvalid",
    "UsageMissing",
    "__version__",
]


_LATE = {
    "Client": "accounting.httpx_clients",
    "AsyncClient": "accounting.httpx_clients",
    "remaining": "accounting.headroom",
    "Headroom": "accounting.headroom",
    "BudgetState": "accounting.decisions",
    "extract": "accounting.extraction",
    "read": "accounting.extraction",
    "Answer": "accounting.formats",
    "SubCall": "accounting.formats",
    "price": "accounting.pricing",
    "rate_book": "accounting.pricing",
    "budget_exceeded": "accounting.refusals",
    "Charge": "accounting.charges",
    "Part": "accounting.charges",
}
"""Imported for those who use them, not for everybody: httpx, every wire format, and the rate cards."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(_LATE[name]), name)
    return found
