"""How good the estimates are: what was learned, from how many calls, and how far off it is on others."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from accounting import learning
from accounting.cli.books import books, out, put_json
from accounting.fitting import ENOUGH
from accounting.learning import Known, Unlearned
from accounting.sheets import Cell, Column, Sheet, counted, printable, say, show
from accounting.store import reading

_COLUMNS = (
    Column("provider", figure=False),
    Column("model", figure=False),
    Column("tokens of", figure=False),
    Column("sent", figure=False, spare=1),
    Column("script", figure=False),
    Column("calls"),
    Column("examined", spare=3),
    Column("per KB", spare=2),
    Column("times priors", spare=2),
    Column("plus", spare=4),
    Column("error %"),
    Column("high error %"),
    Column("bias %"),
    Column("prior error %", spare=1),
    Column("learned UTC", figure=False, spare=5),
)

_MEANING = (
    "Tokens of the input, or of an endpoint's answers as they were sent, are so many per KB, or where (all) scripts or",
    "models stand together, so many times what the shipped priors expect of them; plus so many anyway.",
    "Half of the calls that were held back are off by the error at most, nine in ten by the high error. The bias is by",
    "how much all of them together are too high, the prior error what half would be off by without learning.",
)

_TENTH, _HUNDREDTH = Decimal("0.1"), Decimal("0.01")

_NAMED = 6
"""So many models are named in a sentence; JSON has all."""


def show_errors(as_json: bool) -> None:
    """Print how far off estimates are, by model and script, and of which models too little is known."""
    with books() as engine, reading(engine) as conn:
        known, unlearned = learning.known(conn), learning.unlearned(conn)
    if as_json:
        put_json({"learned": [_fields(each) for each in known], "unlearned": [each._asdict() for each in unlearned]})
        return
    if known:
        show(out(), Sheet(_COLUMNS, tuple(_cells(each) for each in known)))
        say(out(), "", *_MEANING)
    else:
        say(out(), _nothing_learned())
    say(out(), *_waiting([each for each in unlearned if each.calls >= ENOUGH]))
    say(out(), *_too_few([each for each in unlearned if each.calls < ENOUGH]))


def _nothing_learned() -> str:
    return (
        f"Nothing is learned yet: that takes {ENOUGH} finished calls of a model, and `accounting work` or "
        "`accounting learn`. Until then estimates are by the shipped priors."
    )


def _waiting(models: Sequence[Unlearned]) -> list[str]:
    """There are calls to learn from, and nobody has since they were made."""
    if not models:
        return []
    return [f"To be learned from: {_named(models)}. accounting learn does it at once, accounting work every hour."]


def _too_few(models: Sequence[Unlearned]) -> list[str]:
    if not models:
        return []
    return [
        f"Too few finished calls with usage to learn from, which takes {ENOUGH}: {_named(models)}. Until then what is "
        "learned of their providers holds, else the shipped priors."
    ]


def _named(models: Sequence[Unlearned]) -> str:
    """The ones with the most calls first."""
    most = sorted(models, key=lambda each: (-each.calls, each))[:_NAMED]
    named = ", ".join(printable(f"{each.provider} {each.model}") + f" ({counted(each.calls, 'call')})" for each in most)
    return f"{named} and {len(models) - _NAMED:,} more" if len(models) > _NAMED else named


def _cells(known: Known) -> tuple[Cell, ...]:
    place, fit = known.place, known.fit
    errors = (_percent(fit.error), _percent(fit.high_error), _percent(fit.bias), _percent(fit.prior_error))
    counts = (fit.calls, fit.examined, *_slope(known), fit.line.fixed)
    sent = ("stream" if place.stream else "whole") if place.endpoint else None
    named = (place.provider, place.model or "(all)", place.endpoint or "input", sent, place.script or "(all)")
    return (*named, *counts, *errors, f"{known.learned_at:%Y-%m-%dT%H:%M}")


def _slope(known: Known) -> tuple[Cell, Cell]:
    """By bytes, in thousands, else by what the priors expect: see `estimates.Line`."""
    slope = known.fit.line.per_million
    if known.place.script:
        return Decimal(slope).scaleb(-3).quantize(_TENTH), None
    return None, Decimal(slope).scaleb(-6).quantize(_HUNDREDTH)


def _percent(thousandths: int) -> Decimal:
    return Decimal(thousandths) / 10


def _fields(known: Known) -> dict[str, Any]:
    fit = known.fit
    errors = {name: getattr(fit, name) / 1000 for name in ("error", "high_error", "bias", "prior_error")}
    counts = {"calls": fit.calls, "examined": fit.examined}
    return {**known.place._asdict(), **fit.line._asdict(), **counts, **errors, "learned_at": known.learned_at}
