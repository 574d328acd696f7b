"""The price map of LiteLLM: a JSON file of what a token of each model costs now, in USD unless somebody else made it.

A key may end in the service tier, `_batches` or `_flex`, and in the size of the input from which on it holds,
`_above_200k_tokens`. What is not there for a tier and a size is taken of all tiers at the size, then of the tier, then
of all; a batch has its own prices alone. So the library does: `litellm_core_utils/llm_cost_calc`, and for batches
`batch_cost_calculator`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from accounting.errors import RateCardError
from accounting.hours import DAYS
from accounting.money import EXACT, exact
from accounting.ratesources.listing import Collected, Conditions, Listing, says_enough

SOURCE = "litellm"

_CLASSES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "input_cost_per_token_cache_hit": "cache_read",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_image_token": "image_output",
    "input_cost_per_request": "request",
}
"""Its prices by ours; of two that are the same the later one is taken."""

_TIERS = {
    "batches": "batch",
    "priority": "priority",
    "flex": "flex",
    "ultrafast": "ultrafast",
    "balanced": "balanced",
}
_TIER, _SIZE = rf"(?:_(?P<tier{{}}>{'|'.join(_TIERS)}))?", r"(?:_above_(?P<thousands>\d+)k_tokens)?"
_KEY = re.compile(rf"(?P<name>{'|'.join(map(re.escape, _CLASSES))}){_TIER.format(1)}{_SIZE}{_TIER.format(2)}")

_PROVIDERS = {
    "azure_ai": "azure",
    "azure_text": "azure",
    "bedrock_converse": "bedrock",
    "bedrock_mantle": "bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vercel_ai_gateway": "vercel",
    "vertex_ai": "vertex",
}
"""What calls have as their provider, where it is another name."""

_FROM_SIZE_ON = frozenset(("xai",))
"""Providers with whom a call of just that size is a large one."""

_BATCH = "batch"
_CACHED, _HALF = ("input", "cache_read", "cache_write"), ("output", "image_output")

_EXAMPLE = "sample_spec"
_CHATS = ("chat", "completion", "responses")
"""Modes in which there is always input, and nobody gives it for nothing without saying so."""
_IMAGES = ("image_generation", "image_edit")
_OTHERS = "there is no class for such a price"

Progress = Callable[[int, int], None]


def read(
    text: str,
    name: str,
    currency: str = "USD",
    told: Progress = lambda _done, _of: None,
    rounds: bool = False,
) -> Listing:
    """The prices of a map; `name` is the file's, for messages. Raises `RateCardError` where it is none."""
    found = _parsed(text, name)
    collected = Collected(SOURCE, currency, rounds)
    # Of two entries that are one model to us the library takes the one that names the provider.
    for done, (key, entry) in enumerate(sorted(found.items(), key=lambda one: not _names_its_house(*one))):
        told(done, len(found))
        if key != _EXAMPLE:
            _collect(collected, key, entry)
    return collected.listing()


def _names_its_house(key: str, entry: Any) -> bool:
    return isinstance(entry, dict) and key.startswith(f"{entry.get('litellm_provider')}/")


def _parsed(text: str, name: str) -> dict[str, Any]:
    """With prices as they are written: a float would be another number."""
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise RateCardError(f"{name} is no JSON: {error}") from error
    if not isinstance(found, dict) or not any(isinstance(entry, dict) for entry in found.values()):
        raise RateCardError(
            f"{name}: expected LiteLLM's price map, an object with an entry for each model, "
            f"found {type(found).__name__} without one."
        )
    return found


def _collect(collected: Collected, key: str, entry: Any) -> None:
    house = entry.get("litellm_provider") if isinstance(entry, dict) else None
    if not isinstance(house, str) or not house:
        collected.leave_out("", key, "it names no provider")
        return
    provider, model = _named(key, house)
    found = _Found(provider, key, entry)
    try:
        left_out, lines = list(found.left_out()), list(found.lines())
    except (ValueError, ArithmeticError) as error:  # the latter of numbers of more digits than a sum of money has
        reason = "one of its prices is none, or has no condition of ours"
        collected.leave_out(provider, model, reason, "", f"{provider} ({model}): {error}")
        return
    if entry.get("mode") in _CHATS and any("input" not in prices for prices, _ in lines):
        collected.leave_out(provider, model, "it has no price of input, which is not for nothing")
        return
    for name, reason in left_out:
        collected.leave_out(provider, model, reason, name)
    if not lines:
        collected.leave_out(provider, model, "nothing of it can be priced")
    for prices, conditions in lines:
        collected.add(key, provider, model, prices, conditions)
    if collected.named(provider, model) not in (None, key):
        _note_double(collected, provider, model, key)


def _note_double(collected: Collected, provider: str, model: str, key: str) -> None:
    first = collected.named(provider, model)
    collected.leave_out(provider, model, "another entry is the same model, and was taken", key, f"{key}, for {first}")


def _named(key: str, house: str) -> tuple[str, str]:
    """The provider and the model as calls name them: most keys have the house before the model."""
    base = house.split("-")[0] if house.startswith(("vertex_ai-", "fireworks_ai-")) else house
    prefix, slash, rest = key.partition("/")
    ours = {base, base.removesuffix("_text"), base.replace("_", "-")}
    return _PROVIDERS.get(base, base), rest if slash and prefix in ours and rest else key


_Line = tuple[dict[str, Decimal], Conditions]
_Prices = dict[tuple[str, str, int], Decimal]
"""By our class, the service tier, and the size above which it holds."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry of the map."""

    provider: str
    key: str
    entry: Mapping[str, Any]

    def lines(self) -> Iterator[_Line]:
        """Raises `ValueError` where one of its prices is none."""
        prices = self._by_token()
        units = self._by_unit(prices)
        for (tier, size), at in self._lists(prices).items():
            said = _with_images({**self._with_cached(at), **units})
            if says_enough(said):
                yield said, Conditions(service_tier=tier, context_above=size)
        if off_peak := self.entry.get("off_peak_pricing"):
            yield from self._off_peak(off_peak, {**self._at(prices, "", 0), **units})

    def left_out(self) -> Iterator[tuple[str, str]]:
        """Its prices that no line has, with the reason; not those of nothing."""
        for name, said in self.entry.items():
            if ("cost" in name or "pric" in name) and _costs(said) and (reason := self._reason(name)):
                yield name, reason

    def _reason(self, name: str) -> str:
        if _KEY.fullmatch(name) or name in ("tiered_pricing", "off_peak_pricing"):
            return ""
        if "_dbu_" in name:
            return "it is in Databricks units; the same is there as money"
        if name == "search_context_cost_per_query":
            return "" if _searches(self.entry) is not None else "what a search costs depends on how much it reads"
        if name in ("input_cost_per_second", "output_cost_per_second") and self._second() is not None:
            return ""
        if name == "output_cost_per_image":
            return "" if self._image(self._by_token()) is not None else "its images are charged by their tokens"
        return _OTHERS

    def _by_token(self) -> _Prices:
        found: _Prices = {}
        for name in sorted(self.entry, key=_rank):
            said = _KEY.fullmatch(name)
            if said is not None and self.entry[name] is not None:
                tier = _TIERS.get(said["tier1"] or said["tier2"] or "", "")
                place = _CLASSES[said["name"]], tier, self._size(said["thousands"])
                found[place] = _per_1k(self.entry[name], name)
        for size, step in self._steps():
            found |= {(_CLASSES[name], "", size): _per_1k(step[name], name) for name in _CLASSES if name in step}
        return found

    def _size(self, thousands: str | None) -> int:
        return int(thousands) * 1000 - (self.provider in _FROM_SIZE_ON) if thousands else 0

    def _steps(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for step in _listed(self.entry, "tiered_pricing"):
            bounds = _listed(step, "range") if isinstance(step, dict) else []
            if len(bounds) != 2 or isinstance(bounds[0], bool) or not isinstance(bounds[0], int | Decimal):
                raise ValueError(f"tiered_pricing has a step without its range: {step!r}")
            yield int(bounds[0]), step

    def _lists(self, prices: _Prices) -> dict[tuple[str, int], dict[str, Decimal]]:
        tiers = dict.fromkeys(["", *(tier for _, tier, _ in prices)])
        return {
            (tier, size): self._of_batches(prices, size) if tier == _BATCH else self._at(prices, tier, size)
            for tier in tiers
            for size in sorted({0, *(size for _, of, size in prices if of == tier or (not of and tier != _BATCH))})
        }

    def _at(self, prices: _Prices, tier: str, size: int) -> dict[str, Decimal]:
        """At a tier with a price of its own for output, reasoning without one is output like any other."""
        found: dict[str, Decimal] = {}
        smaller = sorted({of for _, _, of in prices if 0 < of <= size}, reverse=True)
        order = [place for above in smaller for place in ((tier, above), ("", above))] + [(tier, 0), ("", 0)]
        has_output = tier and ("output", tier, 0) in prices
        for place in reversed(order):
            there = {name: price for (name, *where), price in prices.items() if tuple(where) == place}
            found |= {name: price for name, price in there.items() if place[0] or name != "reasoning" or not has_output}
        return found

    def _with_cached(self, prices: dict[str, Decimal]) -> dict[str, Decimal]:
        """Cached tokens cost half where the map says nothing: docs.fireworks.ai/guides/prompt-caching."""
        if self.entry["litellm_provider"] != "fireworks_ai" or "input" not in prices:
            return prices
        return {"cache_read": _half(prices["input"]), **prices}

    def _of_batches(self, prices: _Prices, size: int) -> dict[str, Decimal]:
        """Of a batch's own prices: what has none is input or output, or half of what these cost."""
        own = {
            name: price
            for (name, tier, above), price in sorted(prices.items(), key=lambda one: one[0][2])
            if tier == _BATCH and above <= size
        }
        if "input" not in own:
            own |= {name: _half(prices[name, "", 0]) for name in _CACHED if (name, "", 0) in prices}
        return {name: _half(prices[name, "", 0]) for name in _HALF if (name, "", 0) in prices and name not in own} | own

    def _by_unit(self, prices: _Prices) -> dict[str, Decimal]:
        units = {"web_search": _searches(self.entry), "audio_second": self._second(), "image": self._image(prices)}
        return {name: price for name, price in units.items() if price is not None}

    def _second(self) -> Decimal | None:
        """Of audio that is put into words; what is spoken, or filmed, is another thing."""
        if self.entry.get("mode") != "audio_transcription":
            return None
        names = ("input_cost_per_second", "output_cost_per_second")
        found = {_per_1k(self.entry[name], name) for name in names if _costs(self.entry.get(name))}
        return found.pop() if len(found) == 1 else None

    def _image(self, prices: _Prices) -> Decimal | None:
        said = self.entry.get("output_cost_per_image")
        by_token = any(prices.get((name, "", 0)) for name in ("output", "image_output"))
        if said is None or by_token or self.entry.get("mode") not in _IMAGES:
            return None
        return _per_1k(said, "output_cost_per_image")

    def _off_peak(self, said: Any, standard: dict[str, Decimal]) -> Iterator[_Line]:
        if not isinstance(said, dict):
            raise ValueError(f"off_peak_pricing is {said!r}; expected an object.")
        own = {_CLASSES[name]: _per_1k(said[name], name) for name in _CLASSES if name in said}
        for hours in _hours(said):
            yield self._with_cached({**standard, **own}), Conditions(hours=hours)


def _with_images(prices: dict[str, Decimal]) -> dict[str, Decimal]:
    """Where nothing else is put out, images are what is."""
    return {"output": prices["image_output"], **prices} if "image_output" in prices else prices


def _hours(said: Mapping[str, Any]) -> Iterator[str]:
    """Raises `ValueError` for weekdays by another clock than the hours: the day then turns amid the hours."""
    for rule in ({"hours_utc": said.get("hours_utc")}, *_listed(said, "windows")):
        if not isinstance(rule, dict):
            raise ValueError(f"off_peak_pricing has a window that is {rule!r}; expected an object.")
        weekdays = [_weekday(day) for day in _listed(rule, "weekdays")]
        if weekdays and said.get("weekday_timezone") not in (None, "UTC"):
            raise ValueError("off_peak_pricing has hours of one clock on weekdays of another")
        spans = rule.get("hours_utc")
        for span in [spans] if isinstance(spans, str) else _listed(rule, "hours_utc"):
            yield from _windows(str(span), weekdays)


def _weekday(said: Any) -> str:
    """By its number, of which 1 is Monday, or by its name."""
    found = DAYS[said - 1] if isinstance(said, int) and 1 <= said <= 7 else str(said).lower()[:3]
    if found not in DAYS:
        raise ValueError(f"off_peak_pricing has a weekday {said!r}; expected 1 to 7.")
    return found


def _listed(said: Mapping[str, Any], name: str) -> list[Any]:
    found = said.get(name)
    if found is not None and not isinstance(found, list):
        raise ValueError(f"{name} is {found!r}; expected a list.")
    return found or []


def _windows(span: str, weekdays: Sequence[str]) -> Iterator[str]:
    """Those of one span on the weekdays. By the calendar: after midnight it is the next day's."""
    start, _, end = span.replace(" ", "").partition("-")
    days = f"{','.join(weekdays)} " if weekdays else ""
    if start == end or (start, end) == ("00:00", "24:00"):
        yield f"{days}00:00-24:00 UTC"
    elif days and start > end > "00:00":
        yield f"{days}{start}-24:00 UTC"
        yield f"{days}00:00-{end} UTC"
    else:
        yield f"{days}{start}-{end} UTC"


def _searches(entry: Mapping[str, Any]) -> Decimal | None:
    """Of a thousand, where they cost the same however much they read."""
    said = entry.get("search_context_cost_per_query")
    if not isinstance(said, dict) or not said:
        return None
    prices = {_per_1k(price, name) for name, price in said.items()}
    return prices.pop() if len(prices) == 1 else None


def _costs(said: Any) -> bool:
    return any(map(_costs, said.values())) if isinstance(said, dict) else bool(said)


def _rank(name: str) -> int:
    """A key's place among those of its class, so that the one to take comes last."""
    said = _KEY.fullmatch(name)
    return -1 if said is None else list(_CLASSES).index(said["name"])


def _half(price: Decimal) -> Decimal:
    return EXACT.divide(price, 2)


def _per_1k(said: Any, name: str) -> Decimal:
    if isinstance(said, bool) or not isinstance(said, int | str | Decimal):
        raise ValueError(f"{name} is {said!r}; expected a number.")
    try:
        return EXACT.scaleb(exact(said), 3)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
