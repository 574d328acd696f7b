"""`accounting rates explain`: which rate holds for a call, and why."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from accounting import aliasbook, ratebook
from accounting.cli.aliases import rule_fields
from accounting.cli.books import AsJson, books, now, out, put_json
from accounting.cli.rate_sheets import day_or_moment, fields, price_sheet
from accounting.cli.said import count, instant
from accounting.errors import ConfigurationError
from accounting.explained import Asked, Explanation, Near, Passed, explained
from accounting.money import EXACT
from accounting.periods import moment
from accounting.rates import CLASSES, REQUIRED, Rate, tier_of
from accounting.resolution import Considered
from accounting.sheets import Cell, Column, Sheet, printable, say, show
from accounting.store import reading

_NO_RATE = 1
"""The exit code where no rate holds."""


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As calls name it.")],
    provider: Annotated[str, typer.Option("--provider", "-p", metavar="PROVIDER", help="As calls name it.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="INSTANT|DAY", help="When it began: 2026-11-23T10:00+08:00, or a day from 00:00 UTC."),
    ] = None,
    tokens_in: Annotated[
        str, typer.Option("--input", metavar="COUNT", help="Its tokens in, cached ones included: 1500, 200k, 1.5M.")
    ] = "0",
    tier: Annotated[
        str | None, typer.Option("--tier", help="The service tier that served it: batch, flex, priority …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The rate that holds for such a call, the rules that led there, and why no other line of the model was taken.

    Without --at it is a call that begins now. Exits with 1 where no rate holds.
    """
    for name, said in (("MODEL", model), ("--provider", provider)):
        if not said.strip():
            raise ConfigurationError(f"{name} is empty; expected its name, as calls give it.")
    asked = Asked(
        provider=provider,
        model=model,
        at=now() if at is None else instant(at, "--at"),
        input_tokens=count(tokens_in, "--input"),
        service_tier=tier_of(tier),
    )
    with books() as engine, reading(engine) as conn:
        found = _explained(conn, asked)
    if as_json:
        put_json(_fields(found))
    else:
        _show(found)
    if found.taken is None:
        raise typer.Exit(_NO_RATE)


def _explained(conn: Connection, asked: Asked) -> Explanation:
    withdrawn = (line for line in ratebook.lines(conn, withdrawn=True) if line.withdrawn_at is not None)
    return explained(ratebook.book(conn), aliasbook.aliases(conn), asked, withdrawn)


def _show(found: Explanation) -> None:
    say(out(), printable(_asked(found.asked)), style="bold")
    if found.taken is None:
        say(out(), *map(printable, _missing(found)))
    else:
        _show_taken(found.taken)
    if found.kept:
        say(out(), "", printable(f"No other name is tried: alias {found.kept.id}, {found.kept}. {found.kept.source}"))
    if found.passed:
        say(out(), "", "Not taken, the one first that goes before the others:")
        show(out(), _sheet(found.passed))


def _asked(asked: Asked) -> str:
    tier = f", served as {asked.service_tier}" if asked.service_tier else ""
    tokens = f", {asked.input_tokens:,} tokens in" if asked.input_tokens else ""
    return f"{asked.provider}/{asked.model} at {moment(asked.at)}{tokens}{tier}"


def _show_taken(taken: Considered) -> None:
    say(out(), printable(f"Line {taken.rate.id} holds: {taken.rate}."), printable(f"Source: {taken.rate.source}"))
    if taken.rules:
        say(out(), f"It is found under the name {printable(taken.name)}, by")
        say(out(), *(printable(f"- alias {rule.id}, {rule}. {rule.source}") for rule in taken.rules))
    if taken.rate.model != taken.name:
        say(out(), printable(f"Its pattern {taken.rate.model} fits the name."))
    say(out(), "")
    show(out(), price_sheet(taken.rate))


def _sheet(passed: Sequence[Passed]) -> Sheet:
    columns = (
        Column("line"),
        Column("model", figure=False),
        Column("only", figure=False, spare=2),
        Column("valid from", figure=False, spare=3),
        Column("found as", figure=False, spare=1),
        Column("by alias", figure=False, spare=4),
        Column("why not", figure=False),
    )
    return Sheet(columns, tuple(map(_row, passed)))


def _row(one: Passed) -> tuple[Cell, ...]:
    rate, line = one.line.rate, one.line
    by = ", ".join(str(rule.id) for rule in line.rules)
    return (
        rate.id,
        rate.model,
        rate.conditions or None,
        day_or_moment(rate.valid_from),
        line.name,
        by or None,
        "; ".join(one.why),
    )


def _missing(found: Explanation) -> Iterator[str]:
    """That no rate holds, what may have been meant, and what to do."""
    asked, near = found.asked, found.near
    yield "No rate holds: the price of such a call is unknown."
    if found.passed:
        yield f"For calls like it add a line: accounting rates add {shlex.quote(asked.model)} …"
        return
    tried = "".join(f", nor for {name}" for name, _ in found.names)
    yield f"No line is for {asked.model}{tried} at {asked.provider}."
    yield from _near(asked, near)
    yield "Add its price, or load a card or a price map that has it: accounting rates add, load or import"
    if near.models and not found.kept and not _is_variant(asked.model, near.models[0]):
        yield "If that is the same model by another name, at the same price, say so:"
        yield _command(asked, near.models[0])


def _near(asked: Asked, near: Near) -> Iterator[str]:
    if near.providers:
        yield f"No line is of a provider {asked.provider}; near it: {', '.join(near.providers)}."
    if near.models:
        yield f"Near it at {asked.provider}: {', '.join(near.models)}."
    if near.elsewhere:
        yield f"It has a line at {', '.join(near.elsewhere)}."


def _is_variant(model: str, of: str) -> bool:
    """Whether it is like gpt-5:free: the same model, whose price is another."""
    return model.rpartition("/")[2].startswith(of.rpartition("/")[2] + ":")


def _command(asked: Asked, target: str) -> str:
    words = ["accounting", "rates", "aliases", "add", asked.model, target, "--provider", asked.provider]
    return f"{shlex.join(words)} --why …"


def _fields(found: Explanation) -> dict[str, Any]:
    asked = found.asked
    return {
        "provider": asked.provider,
        "model": asked.model,
        "at": asked.at,
        "input_tokens": asked.input_tokens,
        "service_tier": asked.service_tier,
        "taken": None if found.taken is None else _taken_fields(found.taken),
        "not_taken": [{**_line_fields(one.line), "why": list(one.why)} for one in found.passed],
        "names": [{"name": name, "aliases": [rule.id for rule in rules]} for name, rules in found.names],
        "own_price_by": rule_fields(found.kept) if found.kept else None,
        "near": {
            "providers": list(found.near.providers),
            "models": list(found.near.models),
            "elsewhere": list(found.near.elsewhere),
        },
    }


def _taken_fields(taken: Considered) -> dict[str, Any]:
    return {**_line_fields(taken), "per_million": _per_million(taken.rate)}


def _line_fields(line: Considered) -> dict[str, Any]:
    return {"rate": fields(line.rate), "found_as": line.name, "aliases": list(map(rule_fields, line.rules))}


def _per_million(rate: Rate) -> dict[str, Any]:
    """The prices of tokens, as most price lists have them; what is counted otherwise is not priced so."""
    tokens = [each for each in CLASSES if each.parent is not None or each.name in REQUIRED]
    own = {each.name: getattr(rate, each.column) for each in tokens}
    return {name: None if price is None else EXACT.scaleb(price, 3) for name, price in own.items()}
