"""`accounting extract`: what a saved answer of a provider says that it used, and where it says so."""

import json
from collections.abc import Iterator
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from accounting import formats
from accounting.anomalies import Meaning, meaning
from accounting.cli.bills import Bill, answer_bytes, asked_of, known_of, rates_of
from accounting.cli.books import AsJson, now, out, put_json
from accounting.cli.charge_sheets import bill_fields, show_bill
from accounting.counts import Reading, watched
from accounting.errors import ConfigurationError
from accounting.extraction import Extraction, examine
from accounting.formats import Answer, Format, unread
from accounting.money import plain
from accounting.providers import known_hosts, provider_name
from accounting.sheets import Cell, Column, Sheet, counted, printable, say, show
from accounting.usage import COUNTED, Usage, UsageSource

_SHOWN = 60
"""Characters of a value that are shown where a number was to be."""

File = Annotated[
    str | None, typer.Argument(metavar="FILE", help="The answer as it came, a body or a stream; - reads the input.")
]
Provider = Annotated[str, typer.Option(help="Who sent it, as in the rate cards: some say other things in one shape.")]
RequestPath = Annotated[str, typer.Option("--path", help="The request's, as /v1/messages; else the shape tells.")]
ContentType = Annotated[str, typer.Option(help="The answer's; else its first bytes tell a stream from a body.")]
Priced = Annotated[
    bool, typer.Option("--price", help="Show what it costs today, too; accounting price --usage FILE for other times.")
]
Formats = Annotated[bool, typer.Option("--formats", help="List what can be read instead, and what is only recorded.")]


def extract(
    file: File = None,
    provider: Provider = "",
    path: RequestPath = "",
    content_type: ContentType = "",
    as_json: AsJson = False,
    with_price: Priced = False,
    list_formats: Formats = False,
) -> None:
    """What one answer used, read from its bytes alone: each count, where it stood, and what was off about it.

    Nothing is written down. Ends with 1 where the answer tells no usage.
    """
    if list_formats:
        _put_formats(as_json)
        return
    if file is None:
        raise ConfigurationError("Which answer? Give a file, or - for the input; --formats lists what can be read.")
    data = answer_bytes(file)
    provider = _named(provider)
    with watched() as readings:
        found = examine(data, provider=provider, path=path, content_type=content_type)
    bill = _bill(found.answer, provider) if with_price else None
    if as_json:
        put_json(_fields(found, readings, len(data)) | ({"price": bill_fields(bill)} if bill else {}))
    else:
        _show(found, readings, len(data))
        _show_price(bill)
    for hint in _hints(data, content_type):
        typer.echo(hint, err=True)
    if found.answer.usage.source is UsageSource.MISSING:
        raise typer.Exit(1)


def _bill(answer: Answer, provider: str) -> Bill:
    return known_of(asked_of(answer, None, provider or None, now(), None), rates_of())


def _show_price(bill: Bill | None) -> None:
    if bill:
        say(out(), "", "What it costs:", "")
        show_bill(out(), bill)


def _hints(data: bytes, content_type: str) -> Iterator[str]:
    if data.startswith(_GZIP):
        yield "These bytes are compressed with gzip; unpack them first: gunzip < FILE | accounting extract -"
    told, found = formats.splitter(content_type), formats.splitter_of(data, content_type)
    if content_type and type(told) is not type(found):
        yield f"The bytes are no {printable(content_type)}, as they begin; they are read as what they are."


_GZIP = b"\x1f\x8b"
"""RFC 1952, 2.3.1."""


def _named(provider: str) -> str:
    """The name as it is listed; that nobody is called so is told, and no error: it may be somebody's own."""
    hosts = known_hosts()
    name = provider_name(provider or None, hosts) or ""
    if name and name not in hosts.names:
        like = get_close_matches(name.lower(), hosts.names, 1)
        meant = f" Did you mean {like[0]}?" if like else ""
        typer.echo(f"No provider of the lists is called {printable(name)}.{meant} It is read as anybody's.", err=True)
    return name


def _show(found: Extraction, readings: list[Reading], size: int) -> None:
    answer = found.answer
    say(out(), _how(found, size), "")
    show(out(), Sheet((Column("what", figure=False), Column("used")), tuple(_counts(answer.usage))))
    say(out(), "", *_facts(answer))
    for sub in answer.sub_calls:
        say(out(), "", f"Beside it, of the model {printable(sub.model)}:", "")
        show(out(), Sheet((Column("what", figure=False), Column("used")), tuple(_counts(sub.usage))))
    if readings:
        say(out(), "", "Read from the usage block:", "")
        show(out(), _where(readings))
    for name, known in _meanings(answer):
        say(out(), "", f"{printable(name)}: {known.what} {known.rule}" if known else printable(name))


def _how(found: Extraction, size: int) -> str:
    kind = f"{'A stream' if found.is_stream else 'A body'} of {counted(size, 'byte')}"
    by = {"path": "as its path says", "shape": "by its shape"}.get(found.told_by)
    if by is None:
        return f"{kind}, not read."
    if found.format == formats.every()[-1].name:
        return f"{kind}, of an endpoint whose answers are recorded and not read yet."
    return f"{kind}, read as {found.format}, {by}."


def _counts(usage: Usage) -> list[tuple[Cell, ...]]:
    """What is known; of input and output that they are unknown, too."""
    named = ((name, getattr(usage, name)) for name in COUNTED)
    always = ("input_tokens", "output_tokens")
    return [(name.replace("_", " "), count) for name, count in named if count is not None or name in always]


def _facts(answer: Answer) -> list[str]:
    cost = answer.usage.provider_cost
    facts = {
        "usage": str(answer.usage.source),
        "model": answer.model,
        "id": answer.id,
        "finish reason": answer.finish_reason,
        "service tier": answer.service_tier,
        "stated cost": f"{plain(cost.amount)} {cost.currency}" if cost else None,
        "failed": "yes: it holds an error" if answer.failed else None,
        "pending": "yes: a later poll will tell what it used" if answer.pending else None,
    }
    return [f"{name:<13}  {printable(value)}" for name, value in facts.items() if value]


def _where(readings: list[Reading]) -> Sheet:
    columns = (Column("path", figure=False), Column("stated"), Column("taken"))
    return Sheet(columns, tuple((".".join(one.path), _stated(one.stated), one.taken) for one in _once(readings)))


def _once(readings: list[Reading]) -> list[Reading]:
    """Each place once, in order: some formats look again."""
    return list({one.path: one for one in readings}.values())


def _stated(value: object) -> str:
    """As it stood there, so that a number can be told from one written as text."""
    text = str(value) if isinstance(value, Decimal) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _meanings(answer: Answer) -> list[tuple[str, Meaning | None]]:
    usages = [answer.usage, *(sub.usage for sub in answer.sub_calls)]
    return [(name, meaning(name)) for name in dict.fromkeys(name for usage in usages for name in usage.anomalies)]


def _fields(found: Extraction, readings: list[Reading], size: int) -> dict[str, Any]:
    answer = found.answer
    return {
        "format": found.format or None,
        "told_by": found.told_by or None,
        "stream": found.is_stream,
        "bytes": size,
        "usage": _usage_fields(answer.usage),
        "model": answer.model,
        "id": answer.id,
        "finish_reason": answer.finish_reason,
        "service_tier": answer.service_tier,
        "failed": answer.failed,
        "pending": answer.pending,
        "sub_calls": [{"model": sub.model, "usage": _usage_fields(sub.usage)} for sub in answer.sub_calls],
        "read": [{"path": one.path, "stated": _stated(one.stated), "taken": one.taken} for one in _once(readings)],
        "anomalies": [
            {"name": name, "meaning": known and known.what, "rule": known and known.rule}
            for name, known in _meanings(answer)
        ],
    }


def _usage_fields(usage: Usage) -> dict[str, Any]:
    cost = usage.provider_cost
    return {
        **{name: getattr(usage, name) for name in COUNTED},
        "source": usage.source,
        "provider_cost": cost and {"amount": cost.amount, "currency": cost.currency},
        "anomalies": usage.anomalies,
        "block": usage.block,
    }


def _put_formats(as_json: bool) -> None:
    *read, _ = formats.every()
    if as_json:
        put_json(
            {
                "formats": [_format_fields(each) for each in read],
                "recorded_unread": unread.suffixes,
                "recorded_unread_at_providers": unread.at_providers,
                "free": unread.free,
                "streams": formats.stream_types(),
            }
        )
        return
    columns = (Column("format", figure=False), Column("of", figure=False), Column("paths that end with", figure=False))
    rows = [(each.name, ", ".join(each.providers) or "all", ", ".join(each.suffixes)) for each in read]
    show(out(), Sheet(columns, tuple(rows)))
    say(out(), "", "Streams of the types " + ", ".join(formats.stream_types()) + ".")
    say(out(), "", "Recorded as calls, their usage not read yet:", "")
    say(out(), *(f"  {suffix}" for suffix in unread.suffixes))
    say(out(), "", "At the hosts of providers.toml every other POST, too, these by name:", "")
    say(out(), *(f"  {suffix}" for suffix in unread.at_providers))
    say(out(), "", "Not recorded, as they buy nothing:", "")
    say(out(), *(f"  {suffix}" for suffix in unread.free))


def _format_fields(format_: Format) -> dict[str, Any]:
    return {"name": format_.name, "providers": format_.providers, "paths": format_.suffixes}
