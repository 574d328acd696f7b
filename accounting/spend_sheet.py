"""The spend report as people read it, on a terminal or in a pipe, and as programs do.

Under the lines stands the total in words with all that it may hide, so it is whole at any width.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from rich.console import Console

from accounting import converted
from accounting.anomalies import meaning
from accounting.contributions import ANOMALY, REFUSAL
from accounting.fx import Exchange
from accounting.sheets import Column, Sheet, amount, counted, instant, printable, say, show
from accounting.sources import Completeness
from accounting.spend import Estimated, Report, SpendLine
from accounting.usage import COUNTED, Quantities

_COUNTS = (
    Column("calls"),
    Column("failed", spare=3),
    Column("interrupted", spare=5),
    Column("unknown", spare=6),
    Column("no usage", spare=4),
    Column("unpriced", spare=2),
)
_TOKENS = (
    Column("input tokens"),
    Column("cache read", spare=7),
    Column("cache write", spare=8),
    Column("output tokens"),
    Column("reasoning tokens", spare=9),
)
SELDOM = {
    "cache_write_1h_tokens": Column("cache write 1h", spare=16),
    "audio_input_tokens": Column("audio input", spare=12),
    "image_input_tokens": Column("image input", spare=13),
    "audio_output_tokens": Column("audio output", spare=14),
    "image_output_tokens": Column("image output", spare=15),
    "web_searches": Column("web searches", spare=10),
    "images": Column("images", spare=10),
    "audio_seconds": Column("audio seconds", spare=11),
}
"""Columns that are there where any line has something in them. Requests have none: as many as calls with usage."""
_SUB_CALLS = Column("sub-calls", spare=10)

_PARTS = {
    "cache_write_1h_tokens": "written for an hour",
    "audio_input_tokens": "audio input",
    "image_input_tokens": "image input",
    "audio_output_tokens": "audio output",
    "image_output_tokens": "image output",
}
_UNITS = {
    "web_searches": ("web search", "web searches"),
    "images": ("image", "images"),
    "audio_seconds": ("second of audio", "seconds of audio"),
}

_NAMED = 3
"""So many models without a rate are named under a report; JSON has all."""

_TAGS_NAMED = 20

_WRITE_OFF = "accounting deliver there brings its calls, accounting sources close writes them off."


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first`, included, to `end`, left out (None: open), in the zone of that name."""

    first: date | None
    end: date | None
    zone: str

    @property
    def last(self) -> date | None:
        return None if self.end is None else self.end - timedelta(days=1)

    def __str__(self) -> str:
        if self.first is None and self.last is None:
            return f"all days ({self.zone})"
        since = f"from {self.first}" if self.first else ""
        until = f"to {self.last}" if self.last else ""
        return f"{' '.join(filter(None, (since, until)))} ({self.zone})"


def show_report(console: Console, report: Report, span: Span) -> None:
    """Print the report, with a heading above and the total in words below."""
    scope = f" of {printable(str(report.scope))}" if str(report.scope) else ""
    say(console, f"Spend by {printable(report.by)}{scope}, {span}", style="bold")
    say(console, "")
    if report.lines:
        show(console, sheet(report))
        say(console, "", *(_explained(report) if report.by == ANOMALY else ()))
    say_total(console, report)


def say_total(console: Console, report: Report) -> None:
    """Print the total in words, with all that it may hide."""
    say(console, *_overlapping(report), *_unknown_tag(report), *total_in_words(report.total, report.refused))
    say(console, *_in_one(report), *_without_rate(report))
    say(console, *_put_aside(report), *completeness_in_words(report.completeness))


def sheet(report: Report) -> Sheet:
    """A row for each line, a column for each count and each currency."""
    total, currencies = report.total, tuple(report.total.spent)
    seldom = tuple(name for name, count in _named(total.quantities).items() if name in SELDOM and count)
    sub_calls = (_SUB_CALLS,) if total.sub_calls else ()
    costs = tuple(Column(f"cost {code}") for code in currencies) or (Column("cost"),)
    together = converted.columns(report.exchange)
    columns = (*_COUNTS, *sub_calls, *_TOKENS, *(SELDOM[name] for name in seldom), *costs, *together)

    def cells(line: SpendLine) -> tuple[str | int | Decimal | None, ...]:
        counts = (line.calls, line.failed, line.interrupted, line.unknown, line.usage_missing, line.unpriced)
        inside = (line.sub_calls,) if sub_calls else ()
        used = (*line.quantities[: len(_TOKENS)], *(_named(line.quantities)[name] for name in seldom))
        spent = tuple(map(line.spent.get, currencies)) or (None,)
        return (line.group, *counts, *inside, *used, *spent, *converted.cells(report.exchange, line.spent))

    subject = Column(printable(report.by), figure=False, named_by_others=True)
    return Sheet((subject, *columns), tuple(map(cells, report.lines)), cells(total))


def total_in_words(total: SpendLine, refused: int | None = None) -> list[str]:
    """The total's counts, what was used and what it cost, and how many calls that doesn't cover.

    Of those that failed budgets `refused` so many.
    """
    used, inside = total.quantities, f" Inside them {counted(total.sub_calls, 'sub-call')}." if total.sub_calls else ""
    failed = f"{total.failed:,} failed{_by_budgets(refused)}"
    return [
        f"{counted(total.calls, 'call')}: {failed}, {total.interrupted:,} interrupted, "
        f"{total.unknown:,} unknown.{inside}",
        f"Tokens: {used.input:,} input (cache: {used.cache_read:,} read, {used.cache_write:,} written), "
        f"{used.output:,} output ({used.reasoning:,} reasoning).",
        *_seldom_in_words(used),
        f"Cost: {money(total.spent)}; not in it: {total.unpriced:,} unpriced, {total.usage_missing:,} without usage"
        f"{f', what {total.usage_partial:,} left unsaid' if total.usage_partial else ''}"
        f"{''.join(f', {text} without a price' for text in units(total.unpriced_units))}.",
        *_estimated_in_words(total),
    ]


def _by_budgets(refused: int | None) -> str:
    return f" ({refused:,} refused by budgets)" if refused else ""


def _in_one(report: Report) -> list[str]:
    return converted.in_words(report.exchange, report.total.spent, report.total.estimated.spent)


def units(counts: Mapping[str, int]) -> list[str]:
    """What is billed beside tokens, in words: `3 web searches`."""
    return [counted(counts[name], *words) for name, words in _UNITS.items() if counts.get(name)]


def _seldom_in_words(used: Quantities) -> list[str]:
    held = _named(used)
    parts = ", ".join(f"{held[name]:,} {what}" for name, what in _PARTS.items() if held[name])
    beside = ", ".join(units(held))
    return [*([f"Of them: {parts}."] if parts else []), *([f"Beside tokens: {beside}."] if beside else [])]


def _estimated_in_words(total: SpendLine) -> list[str]:
    likely = total.estimated
    if not likely.calls:
        return []
    others = total.usage_missing + total.usage_partial - likely.calls
    return [
        f"Estimated beside: ≈ {money(likely.spent)} ({likely.input_tokens:,} input and {likely.output_tokens:,} output "
        f"tokens), for {counted(likely.calls, 'call')} that ended without all of their usage"
        f"{_unestimated(others)}."
    ]


def _unestimated(calls: int) -> str:
    """Of the calls that lack usage, those of which nobody can say what they used: speech, batches."""
    return f"; {calls:,} more {'has' if calls == 1 else 'have'} no estimate" if calls > 0 else ""


def _explained(report: Report) -> list[str]:
    """What each anomaly means, as far as this version knows it."""
    known = ((line.group, meaning(line.id)) for line in report.lines)
    return [*(f"{printable(name)}: {found.what} {found.rule}" for name, found in known if found), ""]


def _overlapping(report: Report) -> list[str]:
    if report.by == REFUSAL:
        return [_REFUSED if report.lines else "No call was refused by a budget."]
    if report.by != ANOMALY:
        return []
    if not report.lines:
        return ["No call has an anomaly."]
    return [
        "A call is in the line of each of its anomalies, and one without any in none; the total is of all calls. "
        "accounting calls --anomaly NAME lists them."
    ]


_REFUSED = (
    "Calls that a budget refused were not sent and cost nothing; other calls are in no line, and the total is of all. "
    "accounting calls --refused lists them."
)


def _unknown_tag(report: Report) -> list[str]:
    """Which tags there are, where nobody ever used the one asked for."""
    tag = report.by.removeprefix("tag:")
    if report.known_tags is None or tag in report.known_tags:
        return []
    more = len(report.known_tags) - _TAGS_NAMED
    some = ", ".join(map(printable, report.known_tags[:_TAGS_NAMED])) + (f" and {more:,} more" if more > 0 else "")
    known = f"Known tags: {some}." if some else "No call has a tag yet."
    return [f"Nobody has used the tag {printable(tag)}, so all calls are untagged. {known}"]


def _without_rate(report: Report) -> list[str]:
    """What to write a rate card for, spelt as it must be there; a line only where there is anything."""
    some = [one for one in report.unpriced_models if not one.has_rate]
    if not some:
        return []
    named = [f"{printable(f'{one.provider}/{one.model}')} ({counted(one.calls, 'call')})" for one in some[:_NAMED]]
    more = f" and {len(some) - _NAMED:,} more" if len(some) > _NAMED else ""
    return [f"Without a rate: {', '.join(named)}{more}. Add one: accounting rates load FILE"]


def _put_aside(report: Report) -> list[str]:
    """Delivered calls that are in no total; a line only where there are any."""
    if not report.rejected and not report.conflicts:
        return []
    return [
        f"In no total, over all time: {report.rejected:,} put aside, {report.conflicts:,} that came again with other "
        "contents. They are kept as delivered: accounting rejected list, accounting conflicts list."
    ]


def completeness_in_words(found: Completeness) -> list[str]:
    """How many calls are still to come, and until when the total holds everything."""
    if found.until is None:
        return ["No journal has reported yet: metered programs deliver within seconds, accounting deliver at once."]
    to_come = [
        f"{number:,} {what}"
        for number, what in (
            (found.backlog, "ended but not delivered"),
            (found.unrolled, "delivered but not rolled up"),
            (found.missing, "lost (see accounting sources list)"),
        )
        if number
    ]
    return [
        f"Open calls: {', '.join([f'{found.open:,}', *to_come])}. Complete until {instant(found.until)}.",
        *(
            f"Silent since {instant(source.seen_at)}: journal {source.journal} on {source.host}. {_WRITE_OFF}"
            for source in found.silent
        ),
    ]


def money(spent: Mapping[str, Decimal]) -> str:
    """Each currency's sum, exact: `12.50 CNY and 0.3 USD`; `nothing priced` where there is none."""
    return " and ".join(f"{amount(value)} {code}" for code, value in spent.items()) or "nothing priced"


def report_json(report: Report, span: Span) -> dict[str, Any]:
    """The report for programs: lines under the name of their grouping, then the totals."""
    return {
        report.by: [{report.by: line.group, "id": line.id, **_fields(line, report.exchange)} for line in report.lines],
        "totals": _fields(report.total, report.exchange),
        "since": span.first,
        "until": span.last,
        "zone": span.zone,
        "projects": report.scope.projects,
        "keys": report.scope.keys,
        "refused_calls": report.refused,
        "rejected_calls": report.rejected,
        "conflicting_calls": report.conflicts,
        "unpriced_models": [asdict(one) for one in report.unpriced_models],
        **({} if report.known_tags is None else {"known_tags": report.known_tags}),
        **converted.exchange_fields(report.exchange),
        **completeness_json(report.completeness),
    }


def report_csv(report: Report) -> tuple[list[str], list[list[object]]]:
    """Headings, and a row for each line with what JSON has; each currency has a column, and so has each exchange rate.

    What few calls have is left out where no line has any. A total would be summed up again.
    """
    total = _flat(report.total, report.exchange)
    names = [name for name, value in total.items() if name in _ALWAYS or value or name.startswith(_OF_MONEY)]
    rows = [_flat(line, report.exchange) for line in report.lines]
    return [report.by, "id", *names], [
        [line.group, line.id, *(row.get(name, _empty(name)) for name in names)]
        for line, row in zip(report.lines, rows, strict=True)
    ]


_OF_MONEY = ("spent_", *converted.OF_MONEY)


def _flat(line: SpendLine, exchange: Exchange | None) -> dict[str, object]:
    """A line's fields as JSON has them, without a level below."""
    held = _fields(line, None)
    spent, units, likely = (held.pop(name) for name in ("spent", "unpriced_units", "estimated"))
    return {
        **held,
        **{f"unpriced_{name}": count for name, count in units.items()},
        **{f"spent_{code}": amount for code, amount in spent.items()},
        "estimated_calls": likely["calls"],
        "estimated_input_tokens": likely["input_tokens"],
        "estimated_output_tokens": likely["output_tokens"],
        **{f"estimated_{code}": amount for code, amount in likely["spent"].items()},
        **converted.flat(exchange, line.spent, line.estimated.spent),
    }


def _empty(name: str) -> int | None:
    """In a column of a line that has nothing there: no unit is 0, no amount is not."""
    return 0 if name.startswith("unpriced_") else None


def completeness_json(found: Completeness) -> dict[str, Any]:
    """Until when a total holds everything, for programs."""
    return {
        "complete_until": found.until,
        "open_calls": found.open,
        "undelivered_calls": found.backlog,
        "unrolled_calls": found.unrolled,
        "lost_calls": found.missing,
        "silent_journals": [source.journal for source in found.silent],
    }


def _named(used: Quantities) -> dict[str, int]:
    return dict(zip(COUNTED, used, strict=True))


def _fields(line: SpendLine, exchange: Exchange | None) -> dict[str, Any]:
    counts = [*_named(line.quantities).items()]
    return {
        "calls": line.calls,
        "failed": line.failed,
        "interrupted": line.interrupted,
        "unknown": line.unknown,
        "usage_missing": line.usage_missing,
        "usage_partial": line.usage_partial,
        "unpriced": line.unpriced,
        **dict(counts[: len(_TOKENS)]),
        "total_tokens": line.quantities.input + line.quantities.output,
        "sub_calls": line.sub_calls,
        **dict(counts[len(_TOKENS) :]),
        "unpriced_units": dict(line.unpriced_units),
        "spent": dict(line.spent),
        **converted.fields(exchange, line.spent),
        "estimated": _likely(line.estimated, exchange),
    }


_ALWAYS = ("calls", "failed", "interrupted", "unknown", "usage_missing", "usage_partial", "unpriced", *COUNTED[:5],
           "total_tokens")  # fmt: skip
"""Columns of every CSV."""


def _likely(estimated: Estimated, exchange: Exchange | None) -> dict[str, Any]:
    return {
        "calls": estimated.calls,
        "input_tokens": estimated.input_tokens,
        "output_tokens": estimated.output_tokens,
        "spent": dict(estimated.spent),
        **converted.fields(exchange, estimated.spent),
    }
