"""`accounting rates aliases`: other names under which models are called, as rules that people list, test and change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from accounting import aliasbook, backfill, ratebook, stamps
from accounting.aliases import Aliases, Named, Rule
from accounting.cli.books import AsJson, Why, books, now, out, put_json, roll_up
from accounting.cli.rate_effects import DRY, show_touched, touched_fields
from accounting.cli.said import number
from accounting.cli.withdrawals import withdrawal, withdrawal_fields
from accounting.errors import ConfigurationError
from accounting.resolution import RateBook
from accounting.settings import whoami
from accounting.sheets import Cell, Column, Sheet, printable, say, show
from accounting.store import reading
from accounting.touched import Touched, renamed

app = typer.Typer(help="Other names under which models are called.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
Provider = Annotated[str, typer.Option("--provider", "-p", metavar="PROVIDER", help="As calls name it.")]

_READ = "{…} is any text, {date} a day; - as provider is any; without a target a name has a price of its own."


@app.command("list")
def list_(
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", metavar="PROVIDER", help="Only those that are for its models.")
    ] = None,
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="Also rules that were withdrawn.")] = False,
    as_json: AsJson = False,
) -> None:
    """The rules: which names lead to which, and why."""
    with books() as engine, reading(engine) as conn:
        lines = aliasbook.lines(conn, withdrawn=withdrawn)
    chosen = [line for line in lines if provider is None or line.rule.provider in ("", provider)]
    if as_json:
        put_json({"aliases": [_line_fields(line) for line in chosen]})
    elif chosen:
        show(out(), _sheet(chosen))
        say(out(), "", _READ)
    else:
        say(out(), "No aliases. Add one: accounting rates aliases add PATTERN TARGET --why …")


@app.command("test")
def names(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, as calls give it.")],
    provider: Provider,
    with_: Annotated[
        tuple[str, str] | None,
        typer.Option("--with", metavar="PATTERN TARGET", help="As if this rule of the provider were there, too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Under which other names a model's rate is looked for, by which rules, and whether there is one."""
    with books() as engine, reading(engine) as conn:
        rules = [line.rule for line in aliasbook.lines(conn, withdrawn=False)]
        if with_ is not None:
            rules = aliasbook.beside(conn, Rule(provider, *with_)) or rules
        book = ratebook.book(conn)
    found = _Found(provider, model, Aliases(rules), book)
    if as_json:
        put_json(_found_fields(found))
    else:
        _show_found(found)


@app.command()
def add(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Of names: {model} is any text, {date} a day.")],
    why: Why,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="The name on the rate card; parts of the pattern are filled in.")
    ] = "",
    provider: Annotated[
        str, typer.Option("--provider", "-p", metavar="PROVIDER", help="Only its models; else those of all.")
    ] = "",
    own_price: Annotated[
        bool, typer.Option("--own-price", help="Such names are none but their own: no other rule leads on from them.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have calls of one name be priced as another from now on: '{vendor}/{model}' '{model}', our-chat gpt-4o."""
    _refuse_unsaid(target, own_price)
    rule = Rule(provider, pattern, target, why)
    with books() as engine:
        roll_up(engine)
        with reading(engine) as conn:
            rules = aliasbook.beside(conn, rule)
            touched = Touched() if rules is None else renamed(conn, Aliases(rules))
            missing = _missing(conn, rule)
        added = None if dry_run else stamps.decide(engine, lambda conn: _add(conn, rule))
    if as_json:
        put_json({"added": rule_fields(added) if added else None, **_effects(touched, dry_run)})
    elif rules is None:
        say(out(), printable(f"There is such an alias already: {rule}. Nothing was changed."))
    else:
        told = f"Added alias {added.id}, {rule}." if added else f"Would add {rule}. {DRY}"
        say(out(), printable(told), *map(printable, missing))
        show_touched(touched, None if dry_run else why)


def _add(conn: Connection, rule: Rule) -> Rule | None:
    added = aliasbook.add(conn, rule, now(), whoami())
    backfill.fill_by_model(conn)
    return added


def _withdraw(conn: Connection, ids: Sequence[int], why: str) -> None:
    aliasbook.withdraw(conn, ids, now(), whoami(), why)
    backfill.fill_by_model(conn)


@app.command()
def withdraw(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Their numbers: accounting rates aliases list")],
    why: Why,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have rules lead no call to a rate from now on: all of them or none. They stay in the books."""
    wanted = [number(text, "ID") for text in ids]
    with books() as engine:
        roll_up(engine)
        with reading(engine) as conn:
            gone, rules = aliasbook.without(conn, wanted)
            touched = renamed(conn, Aliases(rules))
        if not dry_run:
            stamps.decide(engine, lambda conn: _withdraw(conn, wanted, why))
    if as_json:
        put_json({"withdrawn": [rule_fields(rule) for rule in gone], **_effects(touched, dry_run)})
        return
    verb = "Would withdraw" if dry_run else "Withdrew"
    say(out(), *(printable(f"{verb} alias {rule.id}, {rule}.") for rule in gone), *([DRY] if dry_run else []))
    show_touched(touched, None if dry_run else why)


def _refuse_unsaid(target: str, own_price: bool) -> None:
    if bool(target) == own_price:
        raise ConfigurationError(
            "Expected either a TARGET, the name on the rate card, or --own-price where the names have a price of "
            "their own."
        )


def _missing(conn: Connection, rule: Rule) -> list[str]:
    """That the one name that the rule leads to has no line; of many names nobody knows."""
    if not rule.target or "{" in rule.target:
        return []
    book = ratebook.book(conn)
    providers = [rule.provider] if rule.provider else book.providers
    if any(next(book.considered(each, rule.target), None) for each in providers):
        return []
    where = f" at {rule.provider}" if rule.provider else ""
    return [f"No line of the rate book is for {rule.target}{where} yet: accounting rates add"]


def _sheet(lines: Sequence[aliasbook.Line]) -> Sheet:
    gone = any(line.withdrawn_at for line in lines)
    columns = (
        Column("id"),
        Column("provider", figure=False),
        Column("pattern", figure=False),
        Column("target", figure=False),
        *([Column("withdrawn", figure=False)] if gone else []),
        Column("added", figure=False, spare=3),
        Column("by", figure=False, spare=2),
        Column("why", figure=False, spare=1),
    )
    return Sheet(columns, tuple(_row(line, gone) for line in lines))


def _row(line: aliasbook.Line, gone: bool) -> tuple[Cell, ...]:
    rule = line.rule
    return (
        *(rule.id, rule.provider or None, rule.pattern, rule.target or None),
        *([withdrawal(line)] if gone else []),
        *(f"{line.added_at:%Y-%m-%d}", line.added_by, rule.source),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A name to look for other names of, and where."""

    provider: str
    model: str
    aliases: Aliases
    book: RateBook

    @property
    def names(self) -> Sequence[Named]:
        return self.aliases.names(self.provider, self.model)

    @property
    def kept(self) -> Rule | None:
        return self.aliases.kept(self.provider, self.model)

    def lines(self, name: str) -> int:
        """How many of the rate book have that name itself."""
        return sum(rate.provider == self.provider and rate.model == name for rate in self.book)


def _show_found(found: _Found) -> None:
    names = ((found.model, ()), *found.names)
    rows = [(name, _called(rules) or None, found.lines(name)) for name, rules in names]
    columns = (Column("name", figure=False), Column("by alias", figure=False), Column("rates"))
    show(out(), Sheet(columns, tuple(rows)))
    say(out(), "")
    if found.kept:
        say(out(), printable(f"Alias {found.kept.id}, {found.kept}: {found.kept.source}"))
    elif not found.names:
        say(out(), "No rule is for it: its rate has this name, or a pattern that fits it.")
    say(out(), "Which rate holds, and why: accounting rates explain")


def _called(rules: Sequence[Rule]) -> str:
    return ", then ".join(f"{rule.id or 'the one to test'} ({rule})" for rule in rules)


def _found_fields(found: _Found) -> dict[str, Any]:
    names = ((found.model, ()), *found.names)
    return {
        "provider": found.provider,
        "model": found.model,
        "own_price_by": rule_fields(found.kept) if found.kept else None,
        "names": [
            {"name": name, "aliases": [rule_fields(rule) for rule in rules], "rates": found.lines(name)}
            for name, rules in names
        ],
    }


def _line_fields(line: aliasbook.Line) -> dict[str, Any]:
    return {
        **rule_fields(line.rule),
        "added_at": line.added_at,
        "added_by": line.added_by,
        **withdrawal_fields(line),
    }


def rule_fields(rule: Rule) -> dict[str, Any]:
    """A rule for programs; its id is null while it is not in the books, its provider where it is for any."""
    return {
        "id": rule.id or None,
        "provider": rule.provider or None,
        "pattern": rule.pattern,
        "target": rule.target or None,
        "why": rule.source,
    }


def _effects(touched: Touched, dry_run: bool) -> dict[str, Any]:
    return {"dry_run": dry_run, "touched": touched_fields(touched)}
