"""The oracles' own price lists, imported, and what they and we make of calls drawn at random by them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from accounting.cards import parse_card
from accounting.rates import Rate, price
from accounting.ratesources import litellm
from accounting.resolution import RateBook

from .asking import run
from .drawing import Drawn, draw

MODULES = {"genai": "tests.oracles.genai_sums", "litellm": "tests.oracles.lite_sums"}
CALLS = {"genai": 6, "litellm": 8}
"""So many of each model."""

SEARCHES = {"genai": True, "litellm": False}
"""Whether it prices searches in one sum with the tokens."""

GENAI_PROVIDERS = {
    **{"gemini": "google", "vertex": "google", "bedrock": "aws", "xai": "x-ai"},
    **{"moonshot": "moonshotai", "zhipu": "zhipuai", "voyage": "voyageai"},
}
"""What it calls ours."""


@dataclass(frozen=True, slots=True)
class Model:
    """The lines of a model that the oracle calls so (its provider, and the model), and its own entry where it tells."""

    named: tuple[str, str]
    lines: Sequence[Rate]
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """An oracle's price list as it comes into the books; those of its `models` that it is asked about.

    `untold`: what it has beside them, and the importer doesn't say why it was left out; as far as that can be seen.
    """

    book: RateBook
    models: Sequence[Model]
    untold: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Price:
    """A call of a model, and what the oracle says that it costs, or why it says nothing."""

    model: Model
    call: Drawn
    book: RateBook
    theirs: Decimal | None
    error: str | None

    @property
    def rate(self) -> Rate | None:
        """The line that holds here."""
        return self.at_tier(self.call.tier)

    @property
    def ours(self) -> Decimal | None:
        return None if self.rate is None else price(self.call.used, self.rate).amount

    def at_tier(self, tier: str) -> Rate | None:
        line, call = self.model.lines[0], self.call
        return self.book.find(line.provider, line.model, call.at, call.used.input, tier)


def imported(oracle: str) -> Imported:
    """Raises `EnvironmentMissing`."""
    (told,) = run(oracle, MODULES[oracle], [{"list": True}])
    return _genai(told["cards"]) if oracle == "genai" else _litellm(told["map"])


def _genai(cards: Sequence[str]) -> Imported:
    models: dict[tuple[str, str], list[Rate]] = {}
    for card in cards:
        for line in parse_card(card, "genai-prices"):
            models.setdefault((line.provider, line.model), []).append(line)
    asked = [
        Model((GENAI_PROVIDERS.get(provider, provider), model), lines, {})
        for (provider, model), lines in models.items()
    ]
    return Imported(RateBook(line for lines in models.values() for line in lines), asked)


def _litellm(text: str) -> Imported:
    """Each entry is imported alone, too, which tells its lines from those of another that is the same model to us."""
    listing = litellm.read(text, "map")
    known, doubles = set(listing.lines), {left.name for left in listing.left_out}
    models, untold = [], []
    for key, entry in json.loads(text).items():
        alone = litellm.read(json.dumps({key: entry}), "map") if key != "sample_spec" else None
        if alone and alone.lines and known.issuperset(alone.lines):
            models.append(Model((entry["litellm_provider"], key), alone.lines, entry))
        elif alone and (key not in doubles if alone.lines else not alone.left_out):
            untold.append(key)
    return Imported(RateBook(listing.lines), models, untold)


def priced(oracle: str, listed: Imported) -> list[Price]:
    """Calls of every model, priced by both."""
    drawn = [(model, call) for model in listed.models for call in draw(model.lines, CALLS[oracle], SEARCHES[oracle])]
    replies = run(oracle, MODULES[oracle], [_question(model, call) for model, call in drawn])
    return [_price(model, call, reply, listed.book) for (model, call), reply in zip(drawn, replies, strict=True)]


def _question(model: Model, call: Drawn) -> dict[str, Any]:
    provider, name = model.named
    used = call.used._asdict()
    return {"provider": provider, "model": name, "at": call.at.isoformat(), "tier": call.tier, "used": used}


def _price(model: Model, call: Drawn, reply: Mapping[str, Any], book: RateBook) -> Price:
    cost = reply.get("cost")
    return Price(model, call, book, None if cost is None else Decimal(cost), reply.get("error"))
