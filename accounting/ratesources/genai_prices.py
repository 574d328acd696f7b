"""Prices of the library genai-prices: in USD, with dates, sizes of the input, hours and service tiers.

Its prices are of a million tokens, and of a thousand searches or requests. It takes of a model's prices the last one
whose condition holds, else the first. Azure, Google and others fall back to models of the houses they resell, but for
their service tiers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, Inexact
from importlib import import_module
from typing import Any

from accounting.errors import ConfigurationError
from accounting.money import EXACT
from accounting.ratesources.listing import ALWAYS, Collected, Conditions, Listing, says_enough

SOURCE = "genai-prices"

_CLASSES = {
    **{f"{name}_mtok": name for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h")},
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "output_image_mtok": "image_output",
    "requests_kcount": "request",
    "web_searches_kcount": "web_search",
}

_PROVIDERS = {
    "google": ("gemini", "vertex"),
    "aws": ("bedrock",),
    "x-ai": ("xai",),
    "moonshotai": ("moonshot",),
    "zhipuai": ("zhipu",),
    "voyageai": ("voyage",),
}
"""What calls have as their provider, where it is another name."""

_HOURS = ("input_audio_hours", "audio_hours")
"""Where nothing else is charged: audio that is put into words, not the time that somebody talks with a model."""

_TIERS = {("processing", "batch"): "batch", ("speed", "fast"): "fast"}
"""Beside what it calls a service tier itself."""

Progress = Callable[[int, int], None]


def read(told: Progress = lambda _done, _of: None, rounds: bool = False) -> Listing:
    """All that the installed library knows. Raises `ConfigurationError` where there is none."""
    providers = _library().get_snapshot().providers
    collected = Collected(SOURCE, "USD", rounds)
    by_id = {provider.id: provider for provider in providers}
    for done, provider in enumerate(providers):
        told(done, len(providers))
        for model in _models(provider, by_id):
            for name in _PROVIDERS.get(provider.id, (provider.id,)):
                _collect(collected, name, model)
    return collected.listing()


def _library() -> Any:
    try:
        return import_module("genai_prices.data_snapshot")
    except ImportError as error:
        raise ConfigurationError(
            "genai-prices is not installed. It is an extra: pip install 'llm-accounting[prices]'"
        ) from error


@dataclass(frozen=True, slots=True)
class _Model:
    """A model under the names by which the library itself finds it."""

    named: str
    names: tuple[str, ...]
    is_wider: bool
    said: Any
    variants: list[Any]
    """Its prices on other conditions; of a maker's model none at a reseller."""


def _models(provider: Any, by_id: Mapping[str, Any]) -> Iterator[_Model]:
    resold = [by_id[name] for name in provider.fallback_model_providers or () if name in by_id]
    for house in (provider, *resold):
        for model in house.models:
            texts = dict.fromkeys((model.id, *(text for _, text in _clauses(model.match))))
            found = (text for text in texts if text and text == text.strip())
            names = tuple(text for text in found if _first(text, provider, resold) is model)
            wider = any(kind != "equals" for kind, _ in _clauses(model.match))
            variants = list(model.price_variants or ()) if house is provider else []
            yield _Model(f"{house.id}/{model.id}", names, wider, model, variants)


def _first(name: str, provider: Any, resold: Iterable[Any]) -> Any:
    """The model that the library takes for the name; it goes by the order of its lists."""
    return next((found for house in (provider, *resold) if (found := house.find_model(name))), None)


def _clauses(match: Any) -> Iterator[tuple[str, str]]:
    """What a name has to be, begin with or hold, with the text; a regular expression is no text of a name."""
    for kind, said in vars(match).items():
        if isinstance(said, list):
            for part in said:
                yield from _clauses(part)
        else:
            yield kind, "" if kind == "regex" else said


def _collect(collected: Collected, provider: str, model: _Model) -> None:
    if not model.names:
        collected.leave_out(provider, model.said.id, "the library itself takes its name for another model's")
        return
    if model.is_wider:
        reason = "it is for more names than those it lists; an alias leads others to it: accounting rates aliases"
        collected.leave_out(provider, model.said.id, reason, "match")
    if model.said.price_variants and not model.variants:
        reason = "it is another maker's model, whose tiers may cost something else here"
        collected.leave_out(provider, model.said.id, reason, "price_variants")
    lists = list(_lists(collected, provider, model))
    for name in model.names:
        for prices, conditions in lists:
            collected.add(model.named, provider, name, prices, conditions)


_Line = tuple[dict[str, Decimal], Conditions]


def _lists(collected: Collected, provider: str, model: _Model) -> Iterator[_Line]:
    """All its lines; what can't be one is noted once, though it be in many."""
    unknown: dict[str, None] = {}
    tiers = ["", *dict.fromkeys(filter(None, (_tier(collected, provider, model, one) for one in model.variants)))]
    priced = False
    for tier in tiers:
        before: list[Any] = []
        for since in _borders(model, tier):
            lines = list(_list_at(model, tier, since, unknown))
            said = [(prices, line.context_above, line.hours) for prices, line in lines]
            if said != before and all(says_enough(prices) for prices, _ in lines):
                yield from lines
                priced = True
            before = said
    for name in unknown:
        collected.leave_out(provider, model.said.id, "there is no class for such a price", name)
    if not priced:
        collected.leave_out(provider, model.said.id, "nothing of it can be priced")


def _tier(collected: Collected, provider: str, model: _Model, variant: Any) -> str:
    """The service tier that a variant is the price of; empty where it says nothing, or nothing that we can."""
    tier = _tier_of(variant)
    if tier is None or (variant.constraint is not None and not hasattr(variant.constraint, "start_date")):
        said = ", ".join(f"{what} = {value}" for what, value in variant.when.items())
        collected.leave_out(provider, model.said.id, f"no line can have the condition {said}", "price_variants")
        return ""
    return tier


def _tier_of(variant: Any) -> str | None:
    ((what, value), *others) = variant.when.items()
    if others:
        return None
    if what == "service_tier":
        return "" if value == "default" else str(value)
    return _TIERS.get((what, value))


def _steps(model: Any) -> list[tuple[Any, Any]]:
    """Its prices, each with its condition or None."""
    if isinstance(model.prices, list):
        return [(one.constraint, one.prices) for one in model.prices]
    return [(None, model.prices)]


def _borders(model: _Model, tier: str) -> list[date]:
    """The days on which its prices at the tier may become others."""
    variants = [one for one in model.variants if _tier_of(one) == tier] if tier else []
    own = {_since(one.constraint) for one in variants}
    since = {ALWAYS, *(_since(constraint) for constraint, _ in _steps(model.said))}
    return sorted({*own, *(day for day in since if not own or day > min(own))})


def _since(constraint: Any) -> date:
    start: date = getattr(constraint, "start_date", ALWAYS)
    return max(start, ALWAYS)


def _list_at(model: _Model, tier: str, since: date, unknown: dict[str, None]) -> Iterator[_Line]:
    """The lines of one day: of all hours, and of some."""
    steps = _steps(model.said)
    dated = [n for n, (one, _) in enumerate(steps) if not hasattr(one, "start_time") and _since(one) <= since]
    last = dated[-1] if dated else 0
    timed = [step for step in steps[last + 1 :] if hasattr(step[0], "start_time")]
    for constraint, prices in (steps[last], *timed):
        hours = _hours(constraint) if hasattr(constraint, "start_time") else ""
        said = {**vars(prices), **_variant_prices(model, tier, since)}
        yield from _by_size(said, Conditions(since, tier, 0, hours), unknown)


def _variant_prices(model: _Model, tier: str, since: date) -> dict[str, Any]:
    """Of several variants for one price the first is taken."""
    found: dict[str, Any] = {}
    for one in model.variants if tier else ():
        if _tier_of(one) == tier and _since(one.constraint) <= since:
            found = {name: price for name, price in vars(one.prices).items() if price is not None} | found
    return found


def _by_size(said: Mapping[str, Any], conditions: Conditions, unknown: dict[str, None]) -> Iterator[_Line]:
    prices = {name: price for name, price in said.items() if price is not None and not name.startswith("_")}
    second = _second(prices)
    known = {name: price for name, price in prices.items() if name in _CLASSES}
    left = prices.keys() - known.keys() - (set() if second is None else set(_HOURS))
    unknown.update((name, None) for name in sorted(left) if _costs(prices[name]))
    sizes = {tier.start for price in known.values() for tier in getattr(price, "tiers", ())}
    for size in sorted({0, *sizes}):
        at_size = {_CLASSES[name]: _per_1k(name, _of_size(price, size)) for name, price in known.items()}
        at_size |= {} if second is None else {"audio_second": second}
        yield at_size, Conditions(conditions.since, conditions.service_tier, size, conditions.hours)


def _second(prices: Mapping[str, Any]) -> Decimal | None:
    """Of 1000 seconds, where an hour is all that is charged for, and that is to be had without rounding."""
    found = {prices[name] for name in _HOURS if name in prices}
    if len(found) != 1 or prices.keys() - set(_HOURS):
        return None
    try:
        return EXACT.divide(EXACT.multiply(found.pop(), Decimal(10)), Decimal(36))
    except Inexact:
        return None


def _of_size(price: Any, size: int) -> Decimal:
    tiers = [tier.price for tier in getattr(price, "tiers", ()) if tier.start <= size and size]
    found: Decimal = tiers[-1] if tiers else getattr(price, "base", price)
    return found


def _costs(price: Any) -> bool:
    return bool(getattr(price, "base", price)) or bool(getattr(price, "tiers", ()))


def _per_1k(name: str, price: Decimal) -> Decimal:
    return EXACT.scaleb(price, -3) if name.endswith("_mtok") else price


def _hours(constraint: Any) -> str:
    start, end = (_utc(at) for at in (constraint.start_time, constraint.end_time))
    return f"{start:%H:%M}-{end:%H:%M} UTC"


def _utc(at: time) -> time:
    return at if at.tzinfo is None else datetime.combine(ALWAYS, at).astimezone(UTC).time()
