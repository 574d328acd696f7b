"""A comparison with providers' stated costs as people read it, and as programs do."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from rich.console import Console

from accounting.comparison import EXPLAINED, NOT_COMPARED, Comparison, Line, Part
from accounting.sheets import Cell, Column, Sheet, amount, counted, printable, say, show
from accounting.spend_sheet import Span, completeness_in_words, completeness_json
from accounting.stated import MEANINGS, StatedAs

_COLUMNS = (
    Column("model", figure=False),
    Column("provider", figure=False, spare=1),
    Column("calls"),
    Column("equal", spare=3),
    Column("not compared", spare=2),
    Column("currency", figure=False),
    Column("ours"),
    Column("stated"),
    Column("difference"),
    Column("explained"),
    Column("unexplained"),
    Column("share explained", spare=4),
)

_DIFFERING = (*EXPLAINED, StatedAs.BYOK_HIGHER, StatedAs.BYOK_LOWER, StatedAs.HIGHER, StatedAs.LOWER)


def show_comparison(console: Console, found: Comparison, span: Span) -> None:
    """Print it, with a heading above; below it the totals in words, and what each reason says."""
    scope = f" of {printable(str(found.scope))}" if str(found.scope) else ""
    say(console, f"Costs as providers state them beside ours, by model{scope}, {span}", style="bold")
    say(console, "")
    if found.lines:
        show(console, Sheet(_COLUMNS, tuple(map(_cells, found.lines))))
        say(console, "")
    say_totals(console, found)


def say_totals(console: Console, found: Comparison) -> None:
    """Print the totals in words, with what they leave out."""
    for total in found.totals:
        say(console, *_in_words(total))
    say(console, *_covered(found), *completeness_in_words(found.completeness))


def _cells(line: Line) -> tuple[Cell, ...]:
    return (
        line.model,
        line.provider,
        line.calls,
        line.part(StatedAs.EQUAL).calls,
        line.not_compared.calls,
        line.currency,
        *_of_both(line).values(),
        _percent(line.share_explained),
    )


def _of_both(line: Line) -> dict[str, Decimal | None]:
    """What only calls that have both sums can say; None, not zero, where there are none."""
    compared = line.compared
    figures = {
        "ours": compared.ours,
        "stated": compared.stated,
        "difference": compared.difference,
        "explained": line.explained,
        "unexplained": line.unexplained,
    }
    return {name: figure if compared.calls else None for name, figure in figures.items()}


def _percent(share: Decimal | None) -> str | None:
    return None if share is None else f"{amount(share.scaleb(2), 1)} %"


def _in_words(total: Line) -> Iterator[str]:
    code = total.currency
    yield f"{code}: {_compared(total)}."
    for how in _DIFFERING:
        if (part := total.part(how)).calls:
            yield f"  {how.replace('_', ' ')}: {counted(part.calls, 'call')}, {_signed(part)}. {MEANINGS[how]}"
    for how in NOT_COMPARED:
        if (part := total.part(how)).calls:
            yield (
                f"  Not compared: {counted(part.calls, 'call')} stated as {amount(part.stated)} {code}. {MEANINGS[how]}"
            )


def _compared(total: Line) -> str:
    compared = total.compared
    if not compared.calls:
        return "no call to compare"
    return (
        f"{counted(compared.calls, 'call')} cost {amount(compared.ours)} by our rates and {amount(compared.stated)} as "
        f"stated, a difference of {_signed(compared)}; {_apart(total)}"
    )


def _apart(total: Line) -> str:
    share = _percent(total.share_explained)
    if share is None:
        return "what some calls differ by evens out" if _differing(total) else "nothing differs"
    return f"{share} of what differs is explained, {amount(total.unexplained)} is not"


def _differing(total: Line) -> int:
    return sum(total.part(how).calls for how in _DIFFERING)


def _signed(part: Part) -> str:
    """With its sign: plus, where the provider states more."""
    sign = "+" if part.difference > 0 else ""
    return f"{sign}{amount(part.difference)}"


def _covered(found: Comparison) -> list[str]:
    stated = sum(line.calls for line in found.lines)
    if not stated:
        return [f"No provider stated a cost for any of {counted(found.calls, 'call')}."]
    return [
        f"Of {counted(found.calls, 'call')}, sub-calls among them, {stated:,} have a stated cost. "
        "accounting calls --stated higher lists those of a kind."
    ]


def comparison_json(found: Comparison, span: Span) -> dict[str, Any]:
    """The same for programs. Shares are from 0 to 1, rounded down; null where nothing differs, or all of it evens out.

    Where no call can be compared the sums are null.
    """
    return {
        "model": [{"model": line.model, "provider": line.provider, **_fields(line)} for line in found.lines],
        "totals": [_fields(total) for total in found.totals],
        "calls": found.calls,
        "since": span.first,
        "until": span.last,
        "zone": span.zone,
        "projects": found.scope.projects,
        **completeness_json(found.completeness),
    }


def _fields(line: Line) -> dict[str, Any]:
    return {
        "currency": line.currency,
        "calls": line.calls,
        "compared": line.compared.calls,
        **_of_both(line),
        "share_explained": line.share_explained,
        "by_reason": {how: _figures(how, part) for how in StatedAs if (part := line.part(how)).calls},
    }


def _figures(how: StatedAs, part: Part) -> dict[str, Any]:
    """What there is to say of calls that stand so."""
    if how is StatedAs.EQUAL:
        return {"calls": part.calls}
    if how in NOT_COMPARED:
        return {"calls": part.calls, "stated": part.stated}
    return {"calls": part.calls, "difference": part.difference}


def comparison_csv(found: Comparison) -> tuple[list[str], list[list[object]]]:
    """Headings, and a row for each line; each reason has the same columns in every file."""
    return _HEADINGS, [[line.model, line.provider, *_flat(line).values()] for line in found.lines]


def _flat(line: Line) -> dict[str, object]:
    held = _fields(line)
    del held["by_reason"]
    for how in StatedAs:
        held |= {f"{how}_{name}": value for name, value in _figures(how, line.part(how)).items()}
    return held


_HEADINGS = ["model", "provider", *_flat(Line("", "", ""))]
