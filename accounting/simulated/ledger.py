"""The provider's own ledger: what it charged, and what its answers let a client know of that.

Prices are whole picos (10^-12 of the currency) for one token and sums whole picos, so there is nothing to round.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

MICRO = 10**6
"""Picos in a millionth: a price of 11 for a million tokens is 11 * MICRO a token."""

FINISHED, FAILED, INTERRUPTED, UNKNOWN = "finished", "failed", "interrupted", "unknown"


class Tokens(NamedTuple):
    """Tokens of one call. `input` includes what was read from and written to the cache, `output` the reasoning."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0


class Price(NamedTuple):
    """Picos for a token of each class; the classes are told apart before they are charged."""

    currency: str
    fresh: int
    cache_read: int
    cache_write: int
    answer: int
    reasoning: int


def _flat(currency: str, tokens_in: int, tokens_out: int) -> Price:
    """Cached tokens cost what others do, and so do reasoning ones."""
    return Price(currency, tokens_in, tokens_in, tokens_in, tokens_out, tokens_out)


PRICES = {
    "z-ai/glm-5": _flat("CNY", 11 * MICRO, 35 * MICRO),
    "sim/chat": Price("USD", 2_500_000, 250_000, 2_500_000, 10 * MICRO, 10 * MICRO),
    "sim/chat-mini": Price("USD", 37_037, 9_259, 37_037, 148_149, 148_149),
    "sim/reasoner": Price("USD", 1_100_000, 275_000, 1_100_000, 4_400_000, 5_500_000),
    "sim/messages": Price("USD", 3 * MICRO, 300_000, 3_750_000, 15 * MICRO, 15 * MICRO),
}
"""The price list. Another model is served just as well, at a price that is nowhere written."""

LONG = 1000
LONG_PRICES = {"sim/messages": Price("USD", 6 * MICRO, 600_000, 7_500_000, 22_500_000, 22_500_000)}
"""What the whole of a call costs whose input is more than `LONG` tokens, at models where that makes a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One request that would be charged or refused, in the order of arrival.

    `outcome` is what a client sees that stays until the end, `told` the tokens that it can know by then (None:
    it can know nothing). `left` is set where the client went away before the answer had been sent whole.
    """

    number: int
    endpoint: str
    key: str  # SHA-256 of the API key, hex; empty where none was sent
    model: str
    stream: bool
    status: int | None  # None: no answer at all
    outcome: str
    charged: Tokens
    told: Tokens | None
    left: bool = False


def price_of(model: str, tokens: Tokens) -> Price | None:
    """What a call of so many tokens is charged by."""
    usual = PRICES.get(model)
    return LONG_PRICES.get(model, usual) if tokens.input > LONG else usual


def cost(tokens: Tokens, price: Price) -> int:
    """What the tokens cost, in picos."""
    fresh = tokens.input - tokens.cache_read - tokens.cache_write
    answer = tokens.output - tokens.reasoning
    return (
        fresh * price.fresh
        + tokens.cache_read * price.cache_read
        + tokens.cache_write * price.cache_write
        + answer * price.answer
        + tokens.reasoning * price.reasoning
    )


def total(tokens: Iterable[Tokens]) -> Tokens:
    """The sum, class by class."""
    return Tokens(*(sum(counts) for counts in zip(*tokens, strict=True)))


def costs(used: Iterable[tuple[str, Tokens]]) -> dict[str, Decimal]:
    """What calls cost together, each of its model and tokens, by currency; a model without a price adds nothing."""
    picos: dict[str, int] = {}
    for model, tokens in used:
        if price := price_of(model, tokens):
            picos[price.currency] = picos.get(price.currency, 0) + cost(tokens, price)
    return {currency: amount(sum_) for currency, sum_ in picos.items()}


def amount(picos: int) -> Decimal:
    """Picos in units of the currency: 7,515,000,000 are 0.007515000000."""
    return Decimal(picos).scaleb(-12)
