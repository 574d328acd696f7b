"""Rate cards: dated lines of prices as TOML, appended to and never edited.

    provider = "wcode"
    currency = "CNY"
    source = "price list of 2026-02-12"

    [[rate]]
    model = "z-ai/glm-5"         # or a pattern: "glm-5*"
    valid_from = 2026-02-01      # a date begins at midnight UTC; a time with an offset is taken as it is
    input = 0.011                # per 1000 tokens; cache_read and cache_write cost this where they have no price
    output = 0.035               # reasoning costs this where it has no price of its own
    web_search = 70              # per 1000 searches

A line without `valid_until` holds until a later line of the same model takes over. It may have conditions:
`context_above` (more input tokens than this, cached ones included: then the whole call costs this),
`service_tier` ("batch", "flex", "priority" …, as served; "*" is any) and `hours` ("mon-fri 00:30-08:30 Asia/Shanghai").
`rates.CLASSES` are all prices there are.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeGuard

from accounting.errors import ConfigurationError, RateCardError
from accounting.hours import Hours, hours
from accounting.money import EXACT, PRICE_DECIMALS, currency, exact, plain
from accounting.periods import EARLIEST, LATEST, Period
from accounting.rates import CLASSES, REQUIRED, STANDARD, Rate, tier_of
from accounting.texts import text_of
from accounting.usage import MAX_COUNT

PRICE_LIMIT = Decimal(10**8)
"""Every price per 1000 is below it, or the cost of a call would not fit the 64 bits of `store.views`."""

HEADING = ("provider", "currency", "source")
_NAMES = tuple(each.name for each in CLASSES)
_LINE_FIELDS = {"model", "valid_from", "valid_until", "service_tier", "context_above", "hours", *_NAMES}


def shipped() -> list[Rate]:
    """The lines of the cards in `accounting/ratecards`."""
    found = sorted((files("accounting") / "ratecards").iterdir(), key=lambda card: card.name)
    texts = [(card.name, card.read_text(encoding="utf-8")) for card in found if card.name.endswith(".toml")]
    return [rate for name, text in texts for rate in parse_card(text, name)]


def read(file: Path) -> list[Rate]:
    """The lines of a card's file. Raises `RateCardError`, and `ConfigurationError` where it can't be opened."""
    return parse_card(text_of(file, RateCardError), file.name)


def parse_card(text: str, name: str, currency: str = "") -> list[Rate]:
    """The lines of a rate card; `name` is the file's, for messages. Raises `RateCardError`.

    `currency` is that of a card that names none; without, every card does.
    """
    try:
        card = tomllib.loads(text, parse_float=_number)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise RateCardError(f"{name} is no TOML: {error}") from error
    card = {"currency": currency, **card} if currency else card
    _check_heading(card, name)
    _refuse_unknown(card, {*HEADING, "rate"}, name)
    lines = _lines(card.get("rate"), name)
    return [line_of(card, line, f"{name}, rate {number}") for number, line in enumerate(lines, 1)]


@dataclass(frozen=True, slots=True)
class _Unread:
    """A number of TOML that is no price anywhere, like nan: refused where it stands, as then its place is known."""

    text: str

    def __repr__(self) -> str:
        return self.text


def _number(text: str) -> Decimal | _Unread:
    try:
        return exact(text.replace("_", ""))
    except ValueError:
        return _Unread(text)


def _check_heading(card: Mapping[str, Any], name: str) -> None:
    for what in HEADING:
        if what not in card:
            raise RateCardError(f'{name}: {what} is missing. Write {what} = "…" at the top, above the first [[rate]].')
        if not _is_text(card[what]):
            raise RateCardError(f'{name}: expected {what} = "…" at the top, found {card[what]!r}.')
    check_currency(card["currency"], name)


def _lines(found: object, name: str) -> list[dict[str, Any]]:
    if isinstance(found, dict):
        raise RateCardError(f"{name}: expected at least one [[rate]], found [rate]. Write it in two pairs of brackets.")
    if not isinstance(found, list) or not found or not all(isinstance(line, dict) for line in found):
        raise RateCardError(f"{name}: expected at least one [[rate]], found {found if found else 'none'}.")
    return found


def line_of(card: Mapping[str, Any], line: Mapping[str, Any], where: str) -> Rate:
    """One line under a heading that was checked; prices may be text, too. Raises `RateCardError`."""
    _refuse_unknown(line, _LINE_FIELDS, where)
    model = line.get("model")
    if not _is_text(model) or model != model.strip():
        raise RateCardError(f'{where}: expected model = "…", the name without spaces around it, found {model!r}.')
    start = _instant(line.get("valid_from"), f"{where} ({model}): valid_from")
    end = _instant(line["valid_until"], f"{where} ({model}): valid_until") if "valid_until" in line else None
    if end is not None and end <= start:
        raise RateCardError(f"{where} ({model}): valid_until {end} is not after valid_from {start}.")
    prices: dict[str, Any] = {
        each.column: _price(line[each.name], f"{where} ({model}): {each.name}") for each in CLASSES if each.name in line
    }
    for what in REQUIRED:
        if what not in line:
            raise RateCardError(f"{where} ({model}): {what} is missing. Write 0 if it costs nothing.")
    return Rate(
        provider=card["provider"],
        model=model,
        currency=card["currency"],
        period=Period(start, end),
        service_tier=_tier(line.get("service_tier", STANDARD), f"{where} ({model}): service_tier"),
        context_above=_context(line.get("context_above", 0), f"{where} ({model}): context_above"),
        hours=_hours(line["hours"], f"{where} ({model}): hours") if "hours" in line else None,
        source=card["source"],
        **prices,
    )


def check_currency(code: str, where: str) -> None:
    try:
        currency(code)
    except ConfigurationError as error:
        raise RateCardError(f"{where}: {error}") from error


def _price(value: object, where: str) -> Decimal:
    try:
        number = exact(value.text if isinstance(value, _Unread) else value)  # type: ignore[arg-type]
    except ValueError as error:
        raise RateCardError(f"{where}: {error}") from error
    if number < 0:
        raise RateCardError(f"{where} is {_in_full(number)}; a price can't be negative.")
    if number >= PRICE_LIMIT:
        raise RateCardError(f"{where}: expected a price below {PRICE_LIMIT:,f} per 1000, found {_in_full(number)}.")
    exponent = number.normalize(EXACT).as_tuple().exponent
    if isinstance(exponent, int) and -exponent > PRICE_DECIMALS:
        raise RateCardError(
            f"{where} is {_in_full(number)}; expected at most {PRICE_DECIMALS} decimals per 1000. "
            f"Round it to {PRICE_DECIMALS} decimals."
        )
    return number


def _in_full(number: Decimal) -> str:
    """Without an exponent, where it has no more digits than a sum of money."""
    return plain(number) if abs(number.adjusted()) < EXACT.prec else str(number)


def _tier(value: object, where: str) -> str:
    if not isinstance(value, str) or "\0" in value or value != value.strip():
        raise RateCardError(f'{where}: expected a name like "batch", "flex" or "priority", found {value!r}.')
    return tier_of(value)


def _context(value: object, where: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise RateCardError(f"{where}: expected a number of input tokens like 200000, found {value!r}.")
    return value


def _hours(value: object, where: str) -> Hours:
    if not isinstance(value, str):
        raise RateCardError(f'{where}: expected hours like "mon-fri 00:30-08:30 Asia/Shanghai", found {value!r}.')
    try:
        return hours(value)
    except (ValueError, ConfigurationError) as error:
        raise RateCardError(f"{where}: {error}") from error


def _instant(value: object, where: str) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise RateCardError(f"{where} is {value}; add an offset, like {value.isoformat()}Z, or give a date.")
        return _in_range(value, where)
    if isinstance(value, date):
        return _in_range(datetime.combine(value, time.min, UTC), where)
    raise RateCardError(f"{where}: expected a date like 2026-02-01, without quotes, found {value!r}.")


def instant(said: str, where: str) -> datetime:
    """A date, which begins at midnight UTC, or a time with an offset, as text; raises `RateCardError`."""
    try:
        found = datetime.fromisoformat(said) if len(said) > len("2026-02-01") else date.fromisoformat(said)
    except ValueError as error:
        raise RateCardError(
            f"{where}: expected a date like 2026-02-01, or a time like 2026-02-01T10:00Z, found {said!r}."
        ) from error
    return _instant(found, where)


def _in_range(value: datetime, where: str) -> datetime:
    found = _utc(value)
    if found is None or not EARLIEST <= found.date() <= LATEST:
        hint = " To have the line hold on, leave it out." if where.endswith("until") else ""
        raise RateCardError(f"{where} is {value}; expected a time from {EARLIEST} to {LATEST} in UTC.{hint}")
    return found


def _utc(value: datetime) -> datetime | None:
    """None where no time in UTC is that."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        return None


def _is_text(value: object) -> TypeGuard[str]:
    """Without what PostgreSQL has no place for; no name that a provider gives has it either."""
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _refuse_unknown(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(table) - known):
        raise RateCardError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}.")


def write(rates: Iterable[Rate]) -> str:
    """The lines as a card that `parse_card` reads back as they are, by model and time; without their ids.

    All of one provider, currency and source, as a card has one heading; of `by_heading`.
    """
    lines = sorted(rates, key=_order)
    headings = {_heading(rate): None for rate in lines}
    if len(headings) != 1:
        raise RateCardError(f"A card has one provider, currency and source; these rates have {len(headings)} of them.")
    head = "".join(f"{what} = {_quoted(said)}\n" for what, said in zip(HEADING, *headings, strict=True))
    return head + "".join(f"\n[[rate]]\n{_written(rate)}" for rate in lines)


def by_heading(rates: Iterable[Rate]) -> list[list[Rate]]:
    """The lines of each card that they make, by provider, currency and source."""
    cards: dict[tuple[str, ...], list[Rate]] = {}
    for rate in sorted(rates, key=_heading):
        cards.setdefault(_heading(rate), []).append(rate)
    return list(cards.values())


def _heading(rate: Rate) -> tuple[str, ...]:
    return rate.provider, rate.currency, rate.source


def _order(rate: Rate) -> tuple[Any, ...]:
    return rate.model, rate.valid_from, rate.service_tier, rate.context_above, _written(rate)


def _written(rate: Rate) -> str:
    fields = {
        "model": _quoted(rate.model),
        "valid_from": date_or_time(rate.valid_from),
        "valid_until": date_or_time(rate.period.end) if rate.period.end else None,
        "service_tier": _quoted(rate.service_tier) if rate.service_tier else None,
        "context_above": str(rate.context_above) if rate.context_above else None,
        "hours": _quoted(str(rate.hours)) if rate.hours else None,
        **{each.name: plain(own) for each in CLASSES if (own := getattr(rate, each.column)) is not None},
    }
    return "".join(f"{name} = {said}\n" for name, said in fields.items() if said is not None)


def date_or_time(at: datetime) -> str:
    """As a card writes it: the date where it is midnight UTC."""
    utc = at.astimezone(UTC)
    return utc.date().isoformat() if utc.time() == time.min else utc.isoformat().replace("+00:00", "Z")


def _quoted(text: str) -> str:
    # JSON spells a text as TOML does, but for this one.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
