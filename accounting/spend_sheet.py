"""The spend report as people read it, on a terminal or in a pipe, and as programs do.

Under the lines stands the total in words with all that it may hide, so it is whole at any width.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from rich.console import Console

from accounting.sheets import Column, Sheet, amount, counted, instant, printable, say, show
from accounting.sources import Completeness
from accounting.spend import Report, SpendLine
from accounting.usage import Quantities

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
        say(console, "")
    say_total(console, report)


def say_total(console: Console, report: Report) -> None:
    """Print the total in words, with all that it may hide."""
    say(console, *_unknown_tag(report), *total_in_words(report.total), *_without_rate(report))
    say(console, *_put_aside(report), *completeness_in_words(report.completeness))


def sheet(report: Report) -> Sheet:
    """A row for each line, a column for each count and each currency."""
    currencies = tuple(report.total.spent)
    costs = tuple(Column(f"cost {code}") for code in currencies) or (Column("cost"),)
    return Sheet(
        (Column(printable(report.by), figure=False, named_by_others=True), *_COUNTS, *_TOKENS, *costs),
        tuple(_cells(line, currencies) for line in report.lines),
        _cells(report.total, currencies),
    )


def total_in_words(total: SpendLine) -> list[str]:
    """The total's counts, tokens and cost, and how many calls the cost doesn't cover."""
    used = total.quantities
    return [
        f"{counted(total.calls, 'call')}: {total.failed:,} failed, {total.interrupted:,} interrupted, "
        f"{total.unknown:,} unknown.",
        f"Tokens: {used.input:,} input (cache: {used.cache_read:,} read, {used.cache_write:,} written), "
        f"{used.output:,} output ({used.reasoning:,} reasoning).",
        f"Cost: {money(total.spent)}; not in it: {total.unpriced:,} unpriced, {total.usage_missing:,} without usage"
        f"{f', what {total.usage_partial:,} left unsaid' if total.usage_partial else ''}.",
    ]


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
        report.by: [{report.by: line.group, "id": line.id, **_fields(line)} for line in report.lines],
        "totals": _fields(report.total),
        "since": span.first,
        "until": span.last,
        "zone": span.zone,
        "projects": report.scope.projects,
        "keys": report.scope.keys,
        "rejected_calls": report.rejected,
        "conflicting_calls": report.conflicts,
        "unpriced_models": [asdict(one) for one in report.unpriced_models],
        **({} if report.known_tags is None else {"known_tags": report.known_tags}),
        **_completeness(report.completeness),
    }


def report_csv(report: Report) -> tuple[list[str], list[list[object]]]:
    """Headings, and a row for each line as in JSON; each currency has a column. A total would be summed up again."""
    spent = [f"spent_{code}" for code in report.total.spent]
    names = [name for name in _fields(report.total) if name != "spent"]
    return [report.by, "id", *names, *spent], [_csv_row(line, names, report.total.spent) for line in report.lines]


def _csv_row(line: SpendLine, names: Iterable[str], currencies: Iterable[str]) -> list[object]:
    held = _fields(line)
    return [line.group, line.id, *(held[name] for name in names), *map(line.spent.get, currencies)]


def _completeness(found: Completeness) -> dict[str, Any]:
    return {
        "complete_until": found.until,
        "open_calls": found.open,
        "undelivered_calls": found.backlog,
        "unrolled_calls": found.unrolled,
        "lost_calls": found.missing,
        "silent_journals": [source.journal for source in found.silent],
    }


def _tokens(used: Quantities) -> dict[str, int]:
    return {
        "input_tokens": used.input,
        "cache_read_tokens": used.cache_read,
        "cache_write_tokens": used.cache_write,
        "output_tokens": used.output,
        "reasoning_tokens": used.reasoning,
        "total_tokens": used.input + used.output,
    }


def _fields(line: SpendLine) -> dict[str, Any]:
    return {
        "calls": line.calls,
        "failed": line.failed,
        "interrupted": line.interrupted,
        "unknown": line.unknown,
        "usage_missing": line.usage_missing,
        "usage_partial": line.usage_partial,
        "unpriced": line.unpriced,
        **_tokens(line.quantities),
        "spent": dict(line.spent),
    }


def _cells(line: SpendLine, currencies: tuple[str, ...]) -> tuple[str | int | Decimal | None, ...]:
    counts = (line.calls, line.failed, line.interrupted, line.unknown, line.usage_missing, line.unpriced)
    costs = tuple(map(line.spent.get, currencies)) or (None,)
    return (line.group, *counts, *line.quantities[: len(_TOKENS)], *costs)
