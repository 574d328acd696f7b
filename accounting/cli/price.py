"""`accounting price`: what a call costs, or would cost, part by part."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from accounting.cli.bills import Asked, answer_bytes, asked_of, bill_of, rates_of
from accounting.cli.books import AsJson, now, out, put_json
from accounting.cli.charge_sheets import bill_fields, show_bill
from accounting.cli.said import count, instant
from accounting.errors import ConfigurationError, UsageMissing
from accounting.extraction import read
from accounting.usage import Quantities


def _option(flag: str, what: str) -> Any:
    return typer.Option(flag, metavar="COUNT", help=what, rich_help_panel="What was used")


Model = Annotated[str | None, typer.Option("--model", "-m", help="As it was called, or provider/model.")]
Provider = Annotated[str | None, typer.Option("--provider", "-p", help="As in the rates, where several have it.")]
At = Annotated[
    str | None,
    typer.Option(metavar="INSTANT|DAY", help="When the call began: 2026-11-23T10:00+08:00, or a day from 00:00 UTC."),
]
Tier = Annotated[str | None, typer.Option("--tier", help="The service tier that served it: batch, flex, priority …")]
Lists = Annotated[
    list[str] | None,
    typer.Option("--rates", metavar="FILE", help="Price by this list alone: what accounting rates import reads."),
]
Saved = Annotated[
    str | None, typer.Option("--usage", metavar="FILE", help="A saved answer, body or stream; - reads the input.")
]


def price(
    model: Model = None,
    provider: Provider = None,
    at: At = None,
    tier: Tier = None,
    rates: Lists = None,
    usage: Saved = None,
    as_json: AsJson = False,
    tokens_in: Annotated[str | None, _option("--input", "Tokens in, cached ones included: 1500, 200k, 1.5M.")] = None,
    tokens_out: Annotated[str | None, _option("--output", "Tokens out, reasoning included.")] = None,
    cache_read: Annotated[str | None, _option("--cache-read", "Of the input, read from a cache.")] = None,
    cache_write: Annotated[str | None, _option("--cache-write", "Of the input, written to a cache.")] = None,
    cache_write_1h: Annotated[str | None, _option("--cache-write-1h", "Of those, written for an hour.")] = None,
    reasoning: Annotated[str | None, _option("--reasoning", "Of the output.")] = None,
    audio_input: Annotated[str | None, _option("--audio-input", "Of the input, tokens of audio.")] = None,
    image_input: Annotated[str | None, _option("--image-input", "Of the input, tokens of images.")] = None,
    audio_output: Annotated[str | None, _option("--audio-output", "Of the output, tokens of audio.")] = None,
    image_output: Annotated[str | None, _option("--image-output", "Of the output, tokens of images.")] = None,
    requests: Annotated[str | None, _option("--requests", "Requests; 1 if not said.")] = None,
    web_searches: Annotated[str | None, _option("--web-searches", "Searches.")] = None,
    images: Annotated[str | None, _option("--images", "Images made.")] = None,
    audio_seconds: Annotated[str | None, _option("--audio-seconds", "Seconds of audio.")] = None,
) -> None:
    """What a call costs that used so much, or what a saved answer cost: each part, and by which rate.

    By the rates of the books; where there are none, by those that ship with this program.
    """
    given = {
        **{"input": tokens_in, "output": tokens_out, "cache_read": cache_read, "cache_write": cache_write},
        **{"cache_write_1h": cache_write_1h, "reasoning": reasoning, "audio_input": audio_input},
        **{"image_input": image_input, "audio_output": audio_output, "image_output": image_output},
        **{"requests": requests, "web_searches": web_searches, "images": images, "audio_seconds": audio_seconds},
    }
    counts = {name: count(text, f"--{_dashed(name)}") for name, text in given.items() if text is not None}
    asked = _asked(counts, usage, model, provider, now() if at is None else instant(at, "--at"), tier)
    try:
        bill = bill_of(asked, rates_of(rates))
    except UsageMissing as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if as_json:
        put_json(bill_fields(bill))
    else:
        show_bill(out(), bill)


def _asked(
    counts: Mapping[str, int],
    saved: str | None,
    model: str | None,
    provider: str | None,
    at: datetime,
    tier: str | None,
) -> Asked:
    if saved is not None:
        if counts:
            raise ConfigurationError(f"--usage says what was used; leave out --{_dashed(next(iter(counts)))}.")
        return asked_of(read(answer_bytes(saved), provider=provider or ""), model, provider, at, tier)
    if not counts:
        raise ConfigurationError(
            "What was used? Give --input and --output, as 1500, 200k or 1.5M, or --usage and a saved answer."
        )
    if not model:
        raise ConfigurationError("Which model? Give --model, as it was called; accounting rates list names them.")
    return Asked(model, provider, at, tier, Quantities(**{"requests": 1, **counts}))


def _dashed(name: str) -> str:
    return name.replace("_", "-")
