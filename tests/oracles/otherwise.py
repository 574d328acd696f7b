"""Why an oracle's price of a call by its own list is not ours by the same list: each reason, and what it then takes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from accounting.rates import Rate, price
from accounting.usage import Quantities

from .imported import Price

Taken = tuple[Quantities, Rate | None]
"""What is priced, and by which line."""


@dataclass(frozen=True, slots=True)
class Otherwise:
    """Where the oracle takes other quantities or another line than we do.

    `takes` gives them, from what the reasons before it left; the same where the reason is none for this call. So a
    reason explains the very figure, and several may hold at once.
    """

    oracle: str
    why: str
    takes: Callable[[Price, Quantities, Rate | None], Taken]


@dataclass(frozen=True, slots=True)
class Refused:
    """Where the oracle has no price for a call, and says `said`."""

    oracle: str
    why: str
    said: str
    when: Callable[[Price], object]


REFUSED = [
    Refused(
        "genai",
        "where cached audio has a price of its own, how much was cached has to be told; we take none of it for cached",
        "Missing usage for cache_audio_read_tokens",
        lambda call: call.call.used.audio_input and call.call.used.cache_read,
    ),
    Refused(
        "genai",
        "where cached images have a price of their own, how many were cached has to be told; we take none for cached",
        "Missing usage for cache_image_read_tokens",
        lambda call: call.call.used.image_input and call.call.used.cache_read,
    ),
    Refused(
        "litellm",
        "of Bedrock's models that make images it finds those of Stability by the size of the image alone",
        "This model isn't mapped yet",
        lambda call: call.call.used.images and "stability." in call.model.named[1],
    ),
]


def expected(oracle: str, call: Price, without: Otherwise | None = None) -> Decimal | None:
    """What the oracle will say, by all of the reasons but the one."""
    used, rate = call.call.used, call.rate
    for reason in OTHERWISE:
        if reason.oracle == oracle and reason is not without:
            used, rate = reason.takes(call, used, rate)
    return None if rate is None else price(used, rate).amount


def _standard_before_the_tier(call: Price, used: Quantities, rate: Rate | None) -> Taken:
    return used, rate or call.at_tier("")


def _standard_at_fireworks(call: Price, used: Quantities, rate: Rate | None) -> Taken:
    if call.model.named[0] != "fireworks_ai" or call.call.tier == "batch":
        return used, rate
    standard = call.at_tier("")
    return (used, standard) if standard else (Quantities(), rate)


def _said_twice(call: Price, used: Quantities, rate: Rate | None) -> Taken:
    provider, name = call.model.named
    once = name.removeprefix(f"{provider}/{provider}/")
    other = call.book.find(provider, once, call.call.at, used.input, call.call.tier) if once != name else None
    return used, other or rate


def _little_at_perplexity(call: Price, used: Quantities, rate: Rate | None) -> Taken:
    if call.model.named[0] != "perplexity" or rate is None:
        return used, rate
    plain = Quantities(input=used.input, output=used.output, reasoning=used.reasoning)
    return plain, call.book.find("perplexity", rate.model, call.call.at)


def _free_without_input(call: Price, used: Quantities, rate: Rate | None) -> Taken:
    """With no price of output beside its steps."""
    is_free = "tiered_pricing" in call.model.entry and "output_cost_per_token" not in call.model.entry
    return (Quantities() if is_free and not used.input else used), rate


def _images_alone(call: Price, used: Quantities, rate: Rate | None) -> Taken:
    entry, is_batch = call.model.entry, call.call.tier == "batch"
    if not is_batch or "output_cost_per_image_token" not in entry or "output_cost_per_token" in entry:
        return used, rate
    return used._replace(output=used.image_output, reasoning=0, audio_output=0), rate


def _audio_of_no_tier(call: Price, used: Quantities, rate: Rate | None) -> Taken:
    if rate is None or call.call.tier != "priority" or "input_cost_per_audio_token_priority" not in call.model.entry:
        return used, rate
    standard = call.at_tier("")
    assert standard is not None
    return used, replace(rate, audio_input_per_1k=standard.audio_input_per_1k)


OTHERWISE = [
    Otherwise(
        "genai",
        "before a service tier has its first price it takes the standard one; to us such a call is unpriced",
        _standard_before_the_tier,
    ),
    Otherwise(
        "litellm",
        "with Fireworks it looks for no tier's price, though its map has them; with no other it takes nothing",
        _standard_at_fireworks,
    ),
    Otherwise(
        "litellm",
        "it takes a provider that is named twice for one said twice, though its map has a model of that name",
        _said_twice,
    ),
    Otherwise(
        "litellm",
        "with Perplexity it looks for the price of input, output and reasoning alone: none of cached tokens, of large "
        "inputs, of requests or of images, though its map has them",
        _little_at_perplexity,
    ),
    Otherwise(
        "litellm",
        "without any input it finds no step of a price by steps, and takes nothing for the output",
        _free_without_input,
    ),
    Otherwise(
        "litellm",
        "of a batch that makes images it takes nothing for output that isn't told to be images; to us all of it is",
        _images_alone,
    ),
    Otherwise(
        "litellm",
        "it drops the price of audio at a tier as it reads its map, and takes the standard one",
        _audio_of_no_tier,
    ),
]
