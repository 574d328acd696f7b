"""`accounting rates import`: price lists that others keep, or that a file holds, come into the books."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

import typer
from sqlalchemy import Connection, Engine

from accounting import rateimports, ratesources, stamps
from accounting.cli.books import AsJson, books, measuring, now, out, put_json, roll_up
from accounting.cli.rate_effects import insist, insist_on_ends, show_touched, touched_fields
from accounting.cli.rate_sheets import fields
from accounting.errors import ConfigurationError
from accounting.money import EXACT, PRICE_DECIMALS, plain
from accounting.ratechecks import Suspicion, suspicious
from accounting.rateimports import Beside, Change, Plan, Refused, Wanted
from accounting.rates import CLASSES, Rate
from accounting.ratesources import FORMATS, LeftOut, Listing, Rounded, place
from accounting.settings import whoami
from accounting.sheets import Column, Sheet, counted, instant, printable, say, show
from accounting.store import ratelines, reading
from accounting.touched import Touched, touched


def import_(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="genai-prices, or a file: LiteLLM's price map, a sheet or a card.")
    ],
    form: Annotated[
        str | None, typer.Option("--format", metavar="|".join(FORMATS), help="Where the file's name doesn't tell.")
    ] = None,
    providers: Annotated[
        list[str] | None, typer.Option("--provider", metavar="NAME", help="Only of these; * stands for any text.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help="Only these; * stands for any text.")
    ] = None,
    currency: Annotated[str, typer.Option(metavar="CODE", help="Of prices where the source names none.")] = "",
    rounds: Annotated[
        bool, typer.Option("--round", help="Take prices of more than 9 decimals per 1000, too, rounded to as many.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also where prices look a thousand times off, or lines end.")
    ] = False,
    why: Annotated[str, typer.Option(help="The reason, kept with lines that it adds or withdraws.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take over what a price list says by now: models added, prices changed from when, and those gone, which end.

    Only lines of the same source change. A model's own price of another source, or by hand, wins over a price list's;
    a card or a sheet stands beside others, and its newest line holds.
    """
    _refuse_form(form)
    wanted = Wanted(tuple(providers or ()), tuple(models or ()))
    with measuring() as told:
        found = ratesources.read(source, form, currency, lambda done, of: told("Reading", done, of), rounds)
    with books() as engine:
        roll_up(engine)  # what was delivered a moment ago is touched, too
        planned = _Planned(engine, found, wanted)
        if not as_json:
            say(out(), *planned.headings(source))
            planned.show(why or f"Import of {source}", dry_run)
        does = not (dry_run or planned.plan.is_nothing)
        if does:
            insist(planned.suspicious, yes)
            insist_on_ends(planned.plan.gone, yes)
            if not yes and (planned.suspicious or planned.plan.gone):
                planned = planned.by_now()
            planned.carry_out(source, why)
        if as_json:
            put_json({"imported": does, **planned.answer()})
        else:
            say(out(), *planned.rounding(), _outcome(planned.plan, does))


def _refuse_form(form: str | None) -> None:
    if form is not None and form not in FORMATS:
        raise ConfigurationError(f"--format {form!r} is none; expected {', '.join(FORMATS)}.")


def _outcome(plan: Plan, does: bool) -> str:
    if plan.is_nothing:
        return f"Nothing to import: {counted(plan.kept, 'line')} of the source in the books, as they are in it."
    return f"Imported: {_counts(plan)}." if does else f"A dry run, nothing was changed. To import: {_counts(plan)}."


def _counts(plan: Plan) -> str:
    parts = (f"{len(plan.added):,} added", f"{len(plan.changed):,} changed", f"{len(plan.gone):,} gone")
    return f"{', '.join(parts)}; {counted(plan.kept, 'line')} as before"


class _Planned:
    """What an import would do to these books, and how it is told."""

    def __init__(self, engine: Engine, found: Listing, wanted: Wanted) -> None:
        self._engine, self._found, self._wanted, self._at = engine, found, wanted, now()
        with measuring() as told, reading(engine) as conn:
            self.plan = rateimports.of_books(
                conn, found, self._at, wanted, lambda done, of: told("Comparing", done, of)
            )
            told("Looking for calls", 0, 1)
            held = ratelines.read(conn, withdrawn=False)
            self.suspicious = suspicious(self.plan.unheard(held), held)
            self._touched = _touched(conn, self.plan)
        not_taken = {one.place for one in self.plan.beaten}
        self._rounded = [
            one for one in found.rounded if (there := place(one.line)) in wanted and there not in not_taken
        ]
        self._left_out = [one for one in found.left_out if (one.provider, one.model, "") in wanted]

    def by_now(self) -> "_Planned":
        """At the instant of the decision, with the calls that came in while the question stood."""
        roll_up(self._engine)
        made = _Planned(self._engine, self._found, self._wanted)
        made.plan = replace(made.plan, edition=self.plan.edition)  # what was agreed to
        return made

    def headings(self, source: str) -> Iterator[str]:
        lines = [line for line in self._found.lines if place(line) in self._wanted]
        models = {(line.provider, line.model) for line in lines}
        at = counted(len({provider for provider, _ in models}), "provider")
        yield f"{source}: {counted(len(lines), 'line')} for {counted(len(models), 'model')} at {at}."

    def show(self, why: str, dry_run: bool) -> None:
        """With what a dry run would ask about."""
        for title, sheet in self._sheets():
            if sheet.rows:
                say(out(), "", title, style="bold")
                show(out(), sheet)
        say(out(), "", *self._since())
        say(out(), *(printable(str(one)) for one in self.suspicious if dry_run))
        show_touched(self._touched, why)

    def _since(self) -> list[str]:
        always = self._found.always
        if always is None or all(line.valid_from != always for line in self.plan.added):
            return []
        since = f"{always:%Y-%m-%d}"
        return [f"Prices that the source gives no date are taken to hold since {since}, for models and tiers new here."]

    def rounding(self) -> Iterator[str]:
        if self._rounded:
            lists = counted(len({place(one.line) for one in self._rounded}), "list")
            yield f"{counted(len(self._rounded), 'price')} of {lists} rounded to {PRICE_DECIMALS} decimals per 1000."

    def _sheets(self) -> Iterator[tuple[str, Sheet]]:
        yield "Added", _added(self.plan.added)
        yield "Changed", _changed(self.plan.changed)
        yield "Gone: they end now", _gone(self.plan.gone)
        yield "Rounded", _rounded(self._rounded)
        yield "Not taken, as another source's line prices them", _by_source(self.plan.beaten)
        yield "Not taken, as somebody withdrew them or had them end", _refused(self.plan.refused)
        yield "No more priced by another source's line for more models", _by_source(self.plan.overtaken)
        yield "Left out", _left_out(self._left_out)

    def carry_out(self, source: str, why: str) -> None:
        with measuring() as told:
            told("Writing", 0, 1)
            stamps.decide(
                self._engine, lambda conn: rateimports.apply(conn, self.plan, self._at, whoami(), source, why)
            )

    def answer(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "at": self._at,
            "added": [fields(rate) for rate in plan.added],
            "changed": [_change(change) for change in plan.changed],
            "gone": [fields(rate) for rate in plan.gone],
            "kept": plan.kept,
            "beaten": [_beside(one, "by") for one in plan.beaten],
            "overtaken": [_beside(one, "line") for one in plan.overtaken],
            "rounded": [_rounding(one) for one in self._rounded],
            "refused": [_refusal(one) for one in plan.refused],
            "left_out": [
                {"provider": one.provider, "model": one.model, "price": one.name or None, "reason": one.reason}
                | ({"detail": one.detail} if one.detail else {})
                for one in self._left_out
            ],
            "suspicious": [_suspicion(one) for one in self.suspicious],
            "touched": touched_fields(self._touched),
        }


def _touched(conn: Connection, plan: Plan) -> Touched:
    return touched(conn, plan.appended, [rate.id for rate in plan.withdrawn]) if plan.appended else Touched()


def _added(rates: Iterable[Rate]) -> Sheet:
    found: dict[str, list[Rate]] = defaultdict(list)
    for rate in rates:
        found[rate.provider].append(rate)
    rows = ((name, len({rate.model for rate in lines}), len(lines)) for name, lines in sorted(found.items()))
    return Sheet((Column("provider", figure=False), Column("models"), Column("lines")), tuple(rows))


_LINE = (Column("provider", figure=False), Column("model", figure=False), Column("conditions", figure=False))


def _changed(changes: Iterable[Change]) -> Sheet:
    """A row for each price."""
    columns = (*_LINE, Column("from", figure=False), Column("price", figure=False), Column("was"), Column("now"))
    rows = (
        (*_cells(change), instant(change.at), name, *(_price(change, line, name) for line in (change.was, change.now)))
        for change in changes
        for name in _apart(change)
    )
    return Sheet(columns, tuple(rows))


def _cells(change: Change) -> tuple[str, str, str | None]:
    return _named(change.of)


def _named(rate: Rate) -> tuple[str, str, str | None]:
    return rate.provider, rate.model, rate.conditions or None


def _apart(change: Change) -> list[str]:
    """The prices that change, or the currency."""
    names = [each.name for each in CLASSES if _own(change.was, each.name) != _own(change.now, each.name)]
    return names or ["input"]


def _own(rate: Rate | None, name: str) -> Any:
    return None if rate is None else getattr(rate, f"{name}_per_1k")


def _price(change: Change, rate: Rate | None, name: str) -> str | None:
    """With the conditions of the line, where it has other ones than the change is about."""
    own = _own(rate, name)
    if rate is None or own is None:
        return None
    others = "" if rate.conditions == change.of.conditions else f", as {rate.conditions or 'any call'}"
    return f"{plain(own)} {rate.currency}{others}"


def _gone(rates: Iterable[Rate]) -> Sheet:
    columns = (*_LINE, Column("since", figure=False))
    rows = ((rate.provider, rate.model, rate.conditions or None, instant(rate.valid_from)) for rate in rates)
    return Sheet(columns, tuple(rows))


def _rounded(ones: Iterable[Rounded]) -> Sheet:
    columns = (*_LINE, Column("price", figure=False), Column("stated"), Column("taken"), Column("off by"))
    rows = (
        (
            *_named(one.line),
            one.name,
            plain(one.stated),
            f"{plain(one.price)} {one.line.currency}",
            f"{_percent(one.off)} %",
        )
        for one in ones
    )
    return Sheet(columns, tuple(rows))


def _percent(part: Decimal) -> str:
    return f"{'+' if part > 0 else ''}{plain(EXACT.scaleb(part, 2))}"


def _rounding(one: Rounded) -> dict[str, Any]:
    return {"line": fields(one.line), "price": one.name, "stated": one.stated, "taken": one.price, "off": one.off}


def _by_source(ones: Iterable[Beside]) -> Sheet:
    columns = (Column("source", figure=False), Column("models"), Column("such as", figure=False))
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for one in ones:
        found[one.line.source][f"{one.place[0]}/{one.place[1]}"] = None
    return Sheet(columns, tuple((source, len(models), _such_as(models)) for source, models in sorted(found.items())))


def _refused(ones: Iterable[Refused]) -> Sheet:
    columns = (*_LINE, Column("line"), Column("withdrawn by", figure=False), Column("why", figure=False))
    rows = (
        (rate.provider, rate.model, rate.conditions or None, line.rate.id, line.withdrawn_by, line.withdrawn_why)
        for rate, line in ((one.rate, one.line) for one in ones)
    )
    return Sheet(columns, tuple(rows))


def _refusal(one: Refused) -> dict[str, Any]:
    line = one.line
    how = {"at": line.withdrawn_at, "by": line.withdrawn_by, "why": line.withdrawn_why}
    return {"line": fields(one.rate), "withdrawn": {"id": line.rate.id, **how}}


def _left_out(ones: Iterable[LeftOut]) -> Sheet:
    """A row for each price and reason; --json has all models."""
    columns = (
        Column("price", figure=False),
        Column("reason", figure=False),
        Column("times"),
        Column("such as", figure=False),
    )
    found: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for one in ones:
        name = "" if one.detail else one.name
        found[name, one.reason][one.detail or "/".join(filter(None, (one.provider, one.model)))] = None
    most = sorted(found.items(), key=lambda item: -len(item[1]))
    return Sheet(columns, tuple((name or "all", why, len(of), _such_as(of)) for (name, why), of in most))


def _such_as(models: Iterable[str]) -> str:
    named = list(models)
    return ", ".join(named[:2]) + (", …" if len(named) > 2 else "")


def _suspicion(one: Suspicion) -> dict[str, Any]:
    return {"line": fields(one.line), "price": one.name, "reason": str(one)}


def _beside(one: Beside, name: str) -> dict[str, Any]:
    provider, model, tier = one.place
    return {"provider": provider, "model": model, "service_tier": tier, name: fields(one.line)}


def _change(change: Change) -> dict[str, Any]:
    was, new = (None if rate is None else fields(rate) for rate in (change.was, change.now))
    return {"from": change.at, "was": was, "now": new}
