"""Price lists that others keep, or a file holds, read as lines of the rate book: one file a source.

`genai_prices` and `litellm` have forms of their own; sheets and cards are ours, see `ratesheets` and `cards`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from accounting.cards import parse_card
from accounting.errors import ConfigurationError, RateCardError
from accounting.money import currency as known_currency
from accounting.rates import Rate
from accounting.ratesheets import read_csv
from accounting.ratesources import genai_prices, litellm
from accounting.ratesources.listing import LeftOut, Listing, Place, Rounded, place
from accounting.texts import text_of

__all__ = ["FORMATS", "LeftOut", "Listing", "Place", "Rounded", "place", "read"]

_FORMATS = {".json": "litellm", ".csv": "csv", ".toml": "toml"}
FORMATS = (genai_prices.SOURCE, *_FORMATS.values())

Progress = Callable[[int, int], None]


def read(
    source: str,
    form: str | None = None,
    currency: str = "",
    told: Progress = lambda _done, _of: None,
    rounds: bool = False,
) -> Listing:
    """What the source says, in the form named, or that its name tells; `currency` is for one that says none.

    Prices of others with more decimals than a line can have are rounded, or left out with their list.

    Raises `RateCardError` where it is no such list, and `ConfigurationError` where it is not to be had.
    """
    if currency:
        known_currency(currency)
    form = form or _form(source)
    if form == genai_prices.SOURCE:
        _refuse_currency(currency)
        return genai_prices.read(told, rounds)
    file = Path(source)
    text = text_of(file, RateCardError)
    if form == "litellm":
        return litellm.read(text, file.name, currency or "USD", told, rounds)
    _refuse_rounding(rounds, form)
    return _of_file((read_csv if form == "csv" else parse_card)(text, file.name, currency))


def _refuse_rounding(rounds: bool, form: str) -> None:
    if rounds:
        raise ConfigurationError(f"A {form} file is yours: write the prices that are meant, and leave out --round.")


def _of_file(lines: Sequence[Rate]) -> Listing:
    """A file says nothing of other providers' lines, though they be of a source that bears the same name."""
    headings = frozenset((line.provider, line.source) for line in lines)
    return Listing(frozenset(line.source for line in lines), tuple(lines), headings=headings)


def _form(source: str) -> str:
    if source == genai_prices.SOURCE:
        return source
    form = _FORMATS.get(Path(source).suffix.lower())
    if form is None:
        raise ConfigurationError(
            f"{source!r} tells no form; expected {genai_prices.SOURCE}, or a file that ends in {', '.join(_FORMATS)}. "
            f"Name it: --format {'|'.join(_FORMATS.values())}"
        )
    return form


def _refuse_currency(currency: str) -> None:
    if currency:
        raise ConfigurationError(f"{genai_prices.SOURCE} has its prices in USD; leave out --currency.")
