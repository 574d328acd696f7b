"""What a call costs, or would cost, by the prices of a rate book: exactly, offline, and without a store."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from os import PathLike, fspath
from pathlib import Path

from accounting import aliases, cards, patterns
from accounting.aliases import Aliases
from accounting.charges import Charge, charge, contradictions, parts_of
from accounting.errors import ConfigurationError, RateMissing, UsageInvalid, UsageMissing
from accounting.nearness import near
from accounting.periods import moment
from accounting.rates import ANY_TIER, Rate, is_unknown, tier_of
from accounting.resolution import RateBook
from accounting.usage import MAX_COUNT, Quantities, Usage, UsageSource, counted

Card = str | PathLike[str] | Rate
"""A rate card's file, or a rate."""

_NEAR = 3
_NAMED = 8
"""So many names that are like the one asked for, and so many others, are told at most."""


def price(
    usage: Usage | Quantities,
    model: str,
    at: datetime | None = None,
    *,
    provider: str | None = None,
    service_tier: str | None = None,
    rates: RateBook | Card | Iterable[Card] | None = None,
) -> Charge:
    """What a call costs that used so much: the total, part by part, and the rate that holds.

    `usage` is what `accounting.extract` gives, or one's own `Usage(input_tokens=…, output_tokens=…)`: input includes
    cached tokens and output reasoning ones. `at` is when the call began (with an offset), by default now. `provider` is
    as in the rate cards, needed where several have the model; `service_tier` is the one that served the call, as the
    answer says. `rates`: files of rate cards, or what `rate_book` made of them; by default the cards that ship with
    this package.

        charge = accounting.price(accounting.extract(response.content), "z-ai/glm-5", provider="wcode")
        charge.total  # Money(amount=Decimal('0.007515'), currency='CNY')

    Raises `RateMissing` where no rate holds, `UsageMissing` where nobody said what was used, and `UsageInvalid` where
    the counts contradict each other. With `charge.is_whole` false the call cost more: see `Charge`.
    """
    quantities = _quantities(usage)
    _check_asked(model, at, provider, service_tier)
    book = rates if isinstance(rates, RateBook) else rate_book(rates)
    # The one place beside the commands that reads the clock: to ask for a price without a date is to ask for today's.
    began = datetime.now(UTC) if at is None else at
    rate = rate_for(book, model, began, quantities.input, service_tier, provider)
    return charged(quantities, rate, is_partial(usage))


def rate_book(rates: Card | Iterable[Card] | None = None) -> RateBook:
    """The rates of some cards, files or lines, in one; of the shipped ones by default. With the shipped aliases.

    Make it once to price many calls by cards of your own: `price(…, rates=book)`. Raises `RateCardError` for a card
    that can't be read.
    """
    if rates is None:
        return _shipped()
    given = [rates] if isinstance(rates, Rate | str | PathLike) else rates
    if not isinstance(given, Iterable):
        raise TypeError(f"rates is a {type(rates).__name__}; expected rate cards' files, rates, or a rate book.")
    return RateBook((rate for card in given for rate in _lines(card)), _aliases())


def _lines(card: Card) -> list[Rate]:
    if not isinstance(card, Rate | str | PathLike):
        raise TypeError(f"One of the rates is a {type(card).__name__}; expected a rate card's file, or a rate.")
    return [card] if isinstance(card, Rate) else cards.read(Path(fspath(card)))


@cache
def _shipped() -> RateBook:
    return RateBook(cards.shipped(), _aliases())


@cache
def _aliases() -> Aliases:
    return Aliases(aliases.shipped())


def charged(quantities: Quantities, rate: Rate, is_partial: bool = False) -> Charge:
    """`charge`, where it is known what something of it cost; else raises `RateMissing`."""
    if is_unknown(quantities, rate):
        found = charge(quantities, rate)
        units = ", ".join(name.replace("_", " ") for name in found.unpriced)
        raise RateMissing(
            f"The rate {rate} has no price for {units}, and nothing else was used. Add a line with one, 0 where they "
            "cost nothing by themselves."
        )
    return charge(quantities, rate, is_partial)


def is_partial(usage: Usage | Quantities) -> bool:
    """Whether more was used than is stated: of a stream that was cut, or where the input or the output is unknown.

    Both are where only images or seconds are charged; what has no output, like embeddings, states 0.
    """
    if not isinstance(usage, Usage):
        return False
    return usage.source == UsageSource.PARTIAL or (usage.input_tokens is None) != (usage.output_tokens is None)


def _quantities(usage: object) -> Quantities:
    """Counts that can be priced: known, whole, and no part more than its whole."""
    if isinstance(usage, Usage):
        if all(count is None for count in counted(usage)):
            why = f" ({', '.join(usage.anomalies)})" if usage.anomalies else ""
            raise UsageMissing(f"Nobody said what was used{why}, which is unknown and not nothing: there is no price.")
        usage = usage.quantities
    if usage is None:
        raise UsageMissing("The usage is None: what was used is unknown, and not nothing. There is no price.")
    if not isinstance(usage, Quantities):
        raise TypeError(f"Expected a Usage, as accounting.extract gives it, found a {type(usage).__name__}.")
    _check(usage)
    return usage


def _check_asked(model: object, at: object, provider: object, service_tier: object) -> None:
    """Types are looked at here, as whoever asks for a price may not have them checked."""
    if not isinstance(model, str):
        raise TypeError(f"model is a {type(model).__name__}; expected its name, as it was called.")
    if not model.strip():
        raise ConfigurationError("The model is empty; expected its name, as it was called.")
    for name, said in (("provider", provider), ("service_tier", service_tier)):
        if not isinstance(said, str | None):
            raise TypeError(f"{name} is a {type(said).__name__}; expected a text, or None.")
    if not isinstance(at, datetime | None):
        raise TypeError(
            f"at is a {type(at).__name__}, {at}; expected a datetime with an offset, like "
            "datetime(2026, 11, 20, tzinfo=UTC), or None for now."
        )


def _check(quantities: Quantities) -> None:
    for name, count in quantities._asdict().items():
        if type(count) is not int or not 0 <= count <= MAX_COUNT:
            raise UsageInvalid(f"{name} is {count!r}; expected a whole number from 0 to {MAX_COUNT:,}.")
    for whole in contradictions(quantities):
        told = quantities._asdict()
        parts = ", ".join(f"{name} {told[name]:,}" for name in parts_of(whole) if told[name])
        raise UsageInvalid(
            f"The {whole} is {told[whole]:,} and its parts are more: {parts}. {whole} is all of them together: input "
            "includes what came from a cache or was written to one, output includes reasoning."
        )


def rate_for(
    book: RateBook,
    model: str,
    at: datetime,
    input_tokens: int = 0,
    service_tier: str | None = None,
    provider: str | None = None,
) -> Rate:
    """The rate that holds; without a provider that of the one who has the model.

    Whose card names it goes before whose alias or pattern fits it. Raises `RateMissing`, and says what is near.
    """
    if at.tzinfo is None:
        raise ConfigurationError(f"{at} says not where; give a time with an offset, like {at.isoformat()}+00:00.")
    tier = tier_of(service_tier)
    if provider is not None:
        found = book.find(provider, model, at, input_tokens, tier)
        if found is None:
            raise RateMissing(_missing(book, provider, model, at, tier))
        return found
    rates = _nearest(book, model, at, input_tokens, tier)
    if not rates:
        raise RateMissing(_missing(book, None, model, at, tier))
    if len(rates) > 1:
        names = _listed(sorted(rate.provider for rate in rates))
        raise ConfigurationError(
            f"{model!r} has a rate of each of these providers: {names}. Say whose: provider=…, or --provider."
        )
    return rates[0]


def _nearest(book: RateBook, model: str, at: datetime, input_tokens: int, tier: str) -> list[Rate]:
    """Of all providers those with the model's own name, else as provider/model, else by an alias, else a pattern."""
    found = [
        rate for provider in book.providers if (rate := book.find(provider, model, at, input_tokens, tier)) is not None
    ]
    if named := [rate for rate in found if rate.model == model]:
        return named
    provider, _, name = model.partition("/")
    if (rate := book.find(provider, name, at, input_tokens, tier)) is not None:
        return [rate]
    return [rate for rate in found if not patterns.is_pattern(rate.model)] or found


def _missing(book: RateBook, provider: str | None, model: str, at: datetime, tier: str) -> str:
    whose = f"{provider}/{model}" if provider else model
    return f"No rate for {whose}: {'; '.join(_reasons(book, provider, model, at, tier))}. {_WAY_OUT}"


_WAY_OUT = (
    "Add one: accounting rates add, or write a card and load it (accounting rates load FILE), or price by it alone "
    '(--rates FILE, rates="FILE").'
)


def _reasons(book: RateBook, provider: str | None, model: str, at: datetime, tier: str) -> Iterator[str]:
    if provider is not None and provider not in book.providers:
        told = _near(near(provider, book.providers), book.providers)
        yield f"no provider of the rate cards is called {provider!r}; {told}"
        return
    providers = book.providers if provider is None else [provider]
    lines = [one.rate for each in providers for one in book.considered(each, model)]
    if lines:
        yield _not_then(lines, at, tier)
        return
    names = sorted({rate.model for rate in book if provider in (None, rate.provider)})
    yield f"no card names it; {_near(near(model, names, 0.5), names)}"


def _near(found: list[str], all_: list[str]) -> str:
    return f"near it: {', '.join(found)}" if found else f"there are {_listed(all_)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more if names else "none"


def _not_then(lines: list[Rate], at: datetime, tier: str) -> str:
    """Why none of the model's lines holds."""
    of_tier = [rate for rate in lines if rate.service_tier in (tier, ANY_TIER)]
    if not of_tier:
        tiers = sorted({rate.service_tier or "the standard one" for rate in lines})
        return f"its lines are not for the service tier {tier or 'of calls as usual'!r}, but for {_listed(tiers)}"
    told = "; ".join(str(rate) for rate in of_tier[:_NEAR])
    return f"at {moment(at)} none of its lines holds: {told}"
