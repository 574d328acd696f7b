"""How good the estimates are: what was learned, from how many calls, and how far off it is on others."""

from decimal import Decimal
from typing import Any

from accounting import learning
from accounting.cli.books import books, now, out, put_json
from accounting.fitting import ENOUGH
from accounting.learning import Known, Unlearned
from accounting.sheets import Cell, Column, Sheet, counted, say, show
from accounting.store import reading

_COLUMNS = (
    Column("provider", figure=False),
    Column("model", figure=False),
    Column("of", figure=False),
    Column("came", figure=False, spare=1),
    Column("script", figure=False),
    Column("calls"),
    Column("examined", spare=3),
    Column("tokens per KB", spare=2),
    Column("fixed", spare=4),
    Column("error %"),
    Column("high error %"),
    Column("bias %"),
    Column("prior error %", spare=1),
    Column("learned UTC", figure=False, spare=5),
)

_MEANING = (
    "Half of the calls that were held back are off by the error at most, nine in ten by the high error. The bias is by",
    "how much all of them together are too high, the prior error what half would be off by without learning.",
)


def show_errors(as_json: bool) -> None:
    """Print how far off estimates are, by model and script, and of which models too little is known."""
    with books() as engine, reading(engine) as conn:
        known, unlearned = learning.known(conn), learning.unlearned(conn, now().date())
    if as_json:
        put_json({"learned": [_fields(each) for each in known], "unlearned": [each._asdict() for each in unlearned]})
        return
    if known:
        show(out(), Sheet(_COLUMNS, tuple(_cells(each) for each in known)))
        say(out(), "", *_MEANING)
    else:
        say(out(), _nothing_learned())
    say(out(), *(_too_few(each) for each in unlearned))


def _nothing_learned() -> str:
    return (
        f"Nothing is learned yet: that takes {ENOUGH} finished calls of a model, and `accounting work` or "
        "`accounting learn`. Until then estimates are by the shipped priors."
    )


def _too_few(model: Unlearned) -> str:
    calls = counted(model.calls, "call")
    return (
        f"Too few finished calls to learn from: {model.provider} {model.model} ({calls}); its provider or priors hold."
    )


def _cells(known: Known) -> tuple[Cell, ...]:
    place, fit = known.place, known.fit
    errors = (_percent(fit.error), _percent(fit.high_error), _percent(fit.bias), _percent(fit.prior_error))
    counts = (fit.calls, fit.examined, _per_kilobyte(known), fit.line.fixed or None)
    came = ("stream" if place.stream else "whole") if place.endpoint else None
    named = (place.provider, place.model or "(all)", place.endpoint or "input", came, place.script or "(all)")
    return (*named, *counts, *errors, f"{known.learned_at:%Y-%m-%dT%H:%M}")


def _per_kilobyte(known: Known) -> Cell:
    """None where the line is about what the priors expect, not about bytes."""
    return Decimal(known.fit.line.per_million) / 1000 if known.place.script else None


def _percent(thousandths: int) -> Decimal:
    return Decimal(thousandths) / 10


def _fields(known: Known) -> dict[str, Any]:
    fit = known.fit
    errors = {name: getattr(fit, name) / 1000 for name in ("error", "high_error", "bias", "prior_error")}
    counts = {"calls": fit.calls, "examined": fit.examined}
    return {**known.place._asdict(), **fit.line._asdict(), **counts, **errors, "learned_at": known.learned_at}
