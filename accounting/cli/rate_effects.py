"""What a command says of a change of the rate book: which calls it touches, what looks wrong, and what to do then."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from accounting.cli.books import asks, confirmed, err, out
from accounting.cli.rate_sheets import fields
from accounting.errors import RateCardError
from accounting.ratechanges import Change
from accounting.ratechecks import Suspicion
from accounting.rates import Rate
from accounting.sheets import counted, instant, printable, say
from accounting.spend_sheet import money
from accounting.touched import Touched

DRY = "This is a dry run: nothing was changed."

_NAMED = 6
"""So many are named on a page; JSON has all."""
_FEW = 3
"""So many commands are given to price a provider's models again; else one for all of them."""


def insist(suspicious: Sequence[Suspicion], yes: bool) -> None:
    """Ask whether these prices are right, where somebody is there; raises `RateCardError` unless they are."""
    if suspicious and not yes:
        count = counted(len(suspicious), "price looks", "prices look")
        _ask(_doubts(suspicious), f"{count} a thousand times off", "Add the lines as they are?", "nothing was added")


def insist_on_ends(ending: Sequence[Rate], yes: bool) -> None:
    """Ask whether these lines shall end, where somebody is there; raises `RateCardError` unless they shall."""
    if ending and not yes:
        count = counted(len(ending), "line of the source is", "lines of the source are")
        named = [f"{rate} would end." for rate in ending[:_NAMED]]
        more = [f"And so would {len(ending) - _NAMED:,} more: --dry-run names all."] if len(ending) > _NAMED else []
        _ask([*named, *more], f"{count} not in it any more", "Have them end?", "nothing was imported")


def _ask(said: Sequence[str], found: str, question: str, otherwise: str) -> None:
    if not asks():
        lines = "\n".join(map(printable, said))
        raise RateCardError(f"{lines}\n{found}, so {otherwise}. If right, insist: --yes")
    say(err(), *map(printable, said))
    if not confirmed(f"{found}. {question}"):
        raise RateCardError(f"{otherwise.capitalize()}.")


def _doubts(suspicious: Sequence[Suspicion]) -> list[str]:
    more = len(suspicious) - _NAMED
    rest = [f"And {more:,} more: --dry-run --json names all."] if more > 0 else []
    return [*map(str, suspicious[:_NAMED]), *rest]


def show_doubts(change: Change) -> None:
    """What a dry run would ask about, and what older lines the new ones take the place of."""
    say(out(), *map(printable, _doubts(change.suspicious)))
    show_replaced(change)


def show_replaced(change: Change) -> None:
    say(out(), *(printable(str(one)) for one in change.replaced[:_NAMED]))
    if (more := len(change.replaced) - _NAMED) > 0:
        say(out(), f"And so do {more:,} more older lines: --dry-run --json names all.")
    say(out(), *(printable(str(one)) for one in change.staying[:_NAMED]))
    if (more := len(change.staying) - _NAMED) > 0:
        say(out(), f"And so do {more:,} more lines for any tier: --dry-run --json names all.")


def show_touched(touched: Touched, why: str | None) -> None:
    """Which calls are touched, and the commands that price them again; without a reason for that only the calls."""
    say(out(), _calls(touched))
    if why is not None and touched.calls:
        say(out(), *_how_priced_again(touched, why))
    if touched.unrolled:
        say(out(), f"{counted(touched.unrolled, 'call')} came in just now, and may be touched, too.")


def _calls(touched: Touched) -> str:
    if not touched.calls or touched.first is None:
        return "No call in the books is touched."
    at_most = "at most " if touched.at_most else ""
    calls = f"{at_most}{counted(touched.calls, 'call')} in the books"
    models = [f"{provider}/{model}" for provider, model in touched.models]
    more = f" and {len(models) - _NAMED:,} more" if len(models) > _NAMED else ""
    of = printable(", ".join(models[:_NAMED])) + more
    return f"It touches {calls}, since {instant(touched.first)}, of {of}: {_rated(touched)}."


def _rated(touched: Touched) -> str:
    rated = touched.calls - touched.unpriced
    if not rated:
        return "without a rate by now"
    cost = f"{money(touched.spent)} by the rates that they have"
    return f"{touched.unpriced:,} without a rate by now, the others {cost}" if touched.unpriced else cost


def _how_priced_again(touched: Touched, why: str) -> Iterator[str]:
    if touched.unpriced:
        yield "Those without a rate are priced by accounting work within minutes, or at once:"
        yield from _commands(touched, why, unpriced=True)
    if touched.unpriced < touched.calls:
        others = "The others" if touched.unpriced else "They"
        yield f"{others} keep the rates that they have until priced again (--dry-run shows what that changes):"
        yield from _commands(touched, why, unpriced=False)


def _commands(touched: Touched, why: str, *, unpriced: bool) -> Iterator[str]:
    """A command each model; a provider's where it has many, or where that can't price a call again that has a rate."""
    for provider, pairs in groupby(touched.models, key=lambda pair: pair[0]):
        models: list[str | None] = [model for _, model in pairs]
        for model in models if len(models) <= (1 if unpriced else _FEW) else [None]:
            words = ["accounting", "rerate", "--provider", provider]
            words += ["--model", model] if model is not None else []
            words += ["--since", touched.first.isoformat()] if touched.first else []
            yield printable(shlex.join([*words, *(["--unpriced"] if unpriced else []), "--why", why]))


def show_ending(change: Change) -> None:
    """What has no rate from now on, or only one with more conditions."""
    for line in change.ending[:_NAMED]:
        only = f" ({line.conditions})" if line.conditions else ""
        told = f"No other line stands in its place for calls of {line.provider}/{line.model}{only} that begin now."
        say(out(), printable(f"{told} Add one: accounting rates add"))


def change_fields(change: Change, *, dry_run: bool, added: Sequence[Rate] | None = None) -> dict[str, Any]:
    """The change for programs; `added` are the lines with the ids that they got."""
    return {
        "dry_run": dry_run,
        "added": [fields(rate) for rate in (change.added if added is None else added)],
        "unchanged": change.unchanged,
        "withdrawn": [fields(rate) for rate in change.withdrawn],
        "touched": touched_fields(change.touched),
        "suspicious": [_suspicion_fields(one) for one in change.suspicious],
        "replaced": [{"line": fields(one.older), "by": fields(one.line)} for one in change.replaced],
        "staying": [{"line": fields(one.older), "beside": fields(one.line)} for one in change.staying],
        "without_rate_now": [{"provider": rate.provider, "model": rate.model} for rate in change.ending],
    }


def touched_fields(touched: Touched) -> dict[str, Any]:
    models = [{"provider": provider, "model": model} for provider, model in touched.models]
    return {**asdict(touched), "models": models}


def _suspicion_fields(one: Suspicion) -> dict[str, Any]:
    return {"line": fields(one.line), "class": one.name, "price": one.price, "than": one.than, "whose": one.whose}
