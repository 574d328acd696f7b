"""How a cost that a provider states stands to what the call costs by our rate.

Theirs is never the price of a call: it leaves out what a caller's own key pays for, and includes tools that no token
tells of. It stands beside ours, with the reason why the two differ.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from accounting.money import EXACT, Money
from accounting.rates import Rate, price, unpriced_units
from accounting.usage import Quantities, UsageSource


class StatedAs(StrEnum):
    """As ours, apart from it for a reason that is known, beside nothing of ours, or apart and nobody knows why."""

    EQUAL = "equal"
    ROUNDING = "rounding"
    BYOK = "byok"
    BYOK_UNCHECKED = "byok_unchecked"
    TOOLS = "tools"
    PARTIAL_USAGE = "partial_usage"
    UNPRICED = "unpriced"
    OTHER_CURRENCY = "other_currency"
    BYOK_HIGHER = "byok_higher"
    BYOK_LOWER = "byok_lower"
    HIGHER = "higher"
    LOWER = "lower"


MEANINGS: Mapping[str, str] = {
    StatedAs.ROUNDING: "No more than the digits hide that the provider leaves out. Pluses and minuses even out.",
    StatedAs.BYOK: "The caller brought a key of its own: the sum is a fee, and the bill of that key is as ours.",
    StatedAs.BYOK_UNCHECKED: (
        "The caller brought a key of its own: the sum is a fee. What its tokens are on the bill of that key is not "
        "stated, so nothing tells whether ours is right."
    ),
    StatedAs.TOOLS: "Searches, sources or other units were used that our rate has no price for, and the sum is higher.",
    StatedAs.PARTIAL_USAGE: "Not all that the call used was stated, so ours is of a part of it.",
    StatedAs.UNPRICED: "We have no rate for the model, so nothing of ours stands beside it.",
    StatedAs.OTHER_CURRENCY: "Our rate is in another currency, so nobody can say what the difference is.",
    StatedAs.BYOK_HIGHER: (
        "The caller brought a key of its own, and the bill of that key is higher than ours; the difference is to the "
        "fee. Look at our rate: accounting rates explain MODEL --provider PROVIDER."
    ),
    StatedAs.BYOK_LOWER: (
        "The caller brought a key of its own, and the bill of that key is lower than ours; the difference is to the "
        "fee. Look at our rate: accounting rates explain MODEL --provider PROVIDER."
    ),
    StatedAs.HIGHER: (
        "They ask for more, and nobody knows why. Look at our rate: accounting rates explain MODEL --provider PROVIDER."
    ),
    StatedAs.LOWER: (
        "They ask for less, and nobody knows why. Look at our rate: accounting rates explain MODEL --provider PROVIDER."
    ),
}
"""What each reason says, to be shown beneath a comparison."""


class Statement(NamedTuple):
    """What a provider said that a call cost, and what tells why. `counts` are in the order of `COUNTED`."""

    cost: Money
    provider: str
    counts: Sequence[int | None]
    usage_source: str
    block: str | None


def standing(said: Statement, rate: Rate | None) -> StatedAs:
    """How the sum stands to the call's cost at our rate, None where there is none."""
    if rate is None:
        return StatedAs.UNPRICED
    ours = price(Quantities(*(count or 0 for count in said.counts)), rate)
    if ours.currency != said.cost.currency:
        return StatedAs.OTHER_CURRENCY
    if _BYOK.search(said.block or ""):
        return _by_own_key(said, rate, ours.amount)
    beyond = EXACT.subtract(said.cost.amount, ours.amount)
    return _reason(said, rate, beyond) if beyond else StatedAs.EQUAL


def _reason(said: Statement, rate: Rate, beyond: Decimal) -> StatedAs:
    if beyond.copy_abs() <= hidden(said.cost.amount, said.provider):
        return StatedAs.ROUNDING
    if beyond > 0 and _is_beside_tokens(said, rate):
        return StatedAs.TOOLS
    if said.usage_source != UsageSource.PROVIDER:
        return StatedAs.PARTIAL_USAGE
    return StatedAs.HIGHER if beyond > 0 else StatedAs.LOWER


def _by_own_key(said: Statement, rate: Rate, ours: Decimal) -> StatedAs:
    """By the bill of the key, where it is stated. OpenRouter's fee comes on top, and our rate may have it in or not."""
    stated = _BILL.search(said.block or "")
    if stated is None:
        return StatedAs.BYOK_UNCHECKED
    bill = Decimal(stated[1])
    sums = (bill, EXACT.add(bill, said.cost.amount))
    if any(EXACT.subtract(one, ours).copy_abs() <= hidden(one, said.provider) for one in sums):
        return StatedAs.BYOK
    is_higher = bill > ours
    if said.usage_source != UsageSource.PROVIDER or (is_higher and _is_beside_tokens(said, rate)):
        return StatedAs.BYOK_UNCHECKED
    return StatedAs.BYOK_HIGHER if is_higher else StatedAs.BYOK_LOWER


def _is_beside_tokens(said: Statement, rate: Rate) -> bool:
    """Whether anything was used that our rate has no price for."""
    block = said.block or ""
    has_fee = rate.request_per_1k is None and _FEE.search(block)
    return bool(unpriced_units(said.counts, rate) or _UNCOUNTED.search(block) or has_fee)


# Not parsed: a block that was too large is cut, and what stood at its beginning still tells.
_BYOK = re.compile(r'"is_byok"\s*:\s*true\b')

_BILL = re.compile(r'"upstream_inference_cost"\s*:\s*"?(\d{1,9}(?:\.\d{1,20})?(?:[eE]-[01]?\d)?)"?\s*[,}]')
"""What the provider that OpenRouter asked charges the key; of so many digits that sums of it are exact."""

_UNCOUNTED = re.compile(
    r'"(?:num_sources_used|num_server_side_tools_used|(?!web_search_)[a-z_]+_requests)"\s*:\s*[1-9]'
)
"""Uses of tools, other than the searches that are a quantity of ours: xAI's, and those of servers' tools."""

_FEE = re.compile(r'"request_cost"\s*:\s*"?[0.]*[1-9]')
"""Perplexity's, for each request."""

_KNOWN = {
    # Up to five parts are listed, each rounded to five decimals, and their sum is the total.
    "perplexity": Decimal("0.000025"),
    # Whole ticks, and nobody says which way they are rounded.
    "xai": Decimal("1e-10"),
}
"""The most that the rounding of these providers hides."""

_FINEST = Decimal("0.000001")
_HALF = Decimal("0.5")
_FLOATS = -14


def hidden(stated: Decimal, provider: str) -> Decimal:
    """The most that a sum may be off by what its digits leave out.

    Half a unit of the last digit written, where we don't know better, and never more than half a millionth: zeros at
    the end don't come through JSON, so a sum of few digits need not be a rough one. And a sum of binary floats may be
    off in the fifteenth digit.
    """
    exponent = int(stated.normalize(EXACT).as_tuple().exponent)
    unit = min(EXACT.scaleb(Decimal(1), exponent), _FINEST)
    rounded = _KNOWN.get(provider) or EXACT.multiply(unit, _HALF)
    return max(rounded, EXACT.scaleb(stated, _FLOATS))


class Mark(NamedTuple):
    """What the rows of `spend_by_tag` about stated costs are kept apart by; the currency is the provider's."""

    stated_as: str
    currency: str
    provider: str
    model: str

    def __str__(self) -> str:
        """As it stands in `value`: in words apart, of which the last alone may have a blank."""
        provider = self.provider.replace("%", "%25").replace(" ", "%20")
        return f"{self.stated_as} {self.currency} {provider} {self.model}"


def marked(value: str) -> Mark:
    """The mark that is spelt so."""
    stated_as, currency, provider, model = [*value.split(" ", 3), "", "", ""][:4]
    return Mark(stated_as, currency, provider.replace("%20", " ").replace("%25", "%"), model)
