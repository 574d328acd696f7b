"""`accounting projects`: who pays."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from accounting import keys, periods, projects, stamps
from accounting.cli.books import AsJson, books, now, out, put_json, roll_up
from accounting.cli.spans import span
from accounting.periods import Days
from accounting.projects import FIRST_DAY, UNASSIGNED, Project
from accounting.settings import whoami
from accounting.sheets import Cell, Column, Sheet, counted, instant, printable, say, show
from accounting.spend import SpendLine, spend
from accounting.spend_sheet import money
from accounting.store import reading

app = typer.Typer(help="Who pays: projects, their names, zones and currencies.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The project, by its name or one it had.")]
Zone = Annotated[str, typer.Argument(metavar="ZONE", help="An IANA zone like Asia/Shanghai.")]


_STATEMENTS = "The currency that its statements will be in"


@dataclass(frozen=True, slots=True)
class Account:
    """A project with what it called and spent, in its running month and in all, and the keys it pays for now."""

    project: Project
    days: Days
    today: date
    month: SpendLine
    in_all: SpendLine
    keys: tuple[str, ...]

    @property
    def zone(self) -> str:
        return self.days.zone_on(self.today).key

    @property
    def planned(self) -> list[tuple[date, str]]:
        """Zones to come."""
        return [(first, zone) for first, zone in self.project.zones if first > self.today]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="As programs will give it: meter(client, project=NAME).")],
    zone: Annotated[
        str | None, typer.Option(help="Whose days it is billed by, an IANA zone; else the books' own.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help=f"{_STATEMENTS}, like CNY; else as spent.")] = None,
) -> None:
    """Make a project before its first call. Programs that name a new one make it, too."""
    with books() as engine:
        made = stamps.decide(
            engine, lambda conn: projects.create(conn, name, now(), whoami(), zone=zone, currency=currency)
        )
    say(out(), f"Made project {printable(made.name)}.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Each project: calls and spend in its running month and in all, its keys, and its zone."""
    accounts = _accounts()
    if as_json:
        put_json({"projects": [_fields(account) for account in accounts]})
    elif accounts:
        show(out(), _sheet(accounts))
    else:
        say(out(), "No project yet: the first call makes one, or accounting projects create.")


@app.command("show")
def show_(name: Name, as_json: AsJson = False) -> None:
    """One project: its names, zones, currency, keys, and what it spent."""
    with books() as engine, reading(engine) as conn:
        wanted = projects.find(conn, name)
    account = next(account for account in _accounts() if account.project.id == wanted.id)
    if as_json:
        put_json(_fields(account))
        return
    for what, said in _facts(account).items():
        say(out(), f"{what:18}{said}")


@app.command()
def rename(
    name: Name, new: Annotated[str, typer.Argument(metavar="NEW", help="What it is called from now on.")]
) -> None:
    """Call a project otherwise, in all reports. Programs that give the former name book on it as before."""
    with books() as engine:
        before, after = stamps.decide(engine, lambda conn: _renamed(conn, name, new))
    say(out(), f"{printable(before.name)} is {printable(after.name)} now; programs may go on giving the former name.")


def _renamed(conn: Connection, name: str, new: str) -> tuple[Project, Project]:
    project = projects.find(conn, name)
    return project, projects.rename(conn, project, new, now(), whoami())


@app.command()
def zone(
    name: Name,
    zone: Zone,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="MONTH", help="The month it begins with, YYYY-MM; else the next.")
    ] = None,
) -> None:
    """Bill a project by the days of another zone, from the first day of a month that has not begun.

    A project without calls has the zone at once.
    """
    first = None if from_ is None else span(None, None, from_, zone).first
    with books() as engine:
        project, since = stamps.decide(engine, lambda conn: _zone_changed(conn, name, zone, first))
    when = "has" if since == FIRST_DAY else f"has from {since} on"
    say(out(), f"{printable(project.name)} {when} the days of {zone}.")


def _zone_changed(conn: Connection, name: str, zone: str, first: date | None) -> tuple[Project, date]:
    project = projects.find(conn, name)
    return project, projects.change_zone(conn, project, zone, first, now(), whoami())


@app.command()
def currency(
    name: Name, code: Annotated[str, typer.Argument(metavar="CODE", help="Like CNY, or none: as spent.")]
) -> None:
    """Say what currency a project's statements will be in.

    Reports show what was spent, in the currency of its rate, whatever is said here.
    """
    wanted = None if code == "none" else code
    with books() as engine:
        project = stamps.decide(engine, lambda conn: _billed_in(conn, name, wanted))
    say(
        out(),
        f"{printable(project.name)} is billed {f'in {wanted}' if wanted else 'as spent'}: its statements will be. "
        "Reports show what was spent, in the currency of its rate.",
    )


def _billed_in(conn: Connection, name: str, code: str | None) -> Project:
    project = projects.find(conn, name)
    projects.bill_in(conn, project, code)
    return project


def _accounts() -> list[Account]:
    with books() as engine:
        roll_up(engine)  # what was delivered a moment ago counts, too
        with reading(engine) as conn:
            return _read(conn)


def _read(conn: Connection) -> list[Account]:
    all_, calendar = projects.known(conn), projects.calendar(conn)
    today = {project.id: calendar.billed_on(project.id, now()) for project in all_}
    in_all = _spend(conn, None, None)
    months = {day.replace(day=1) for day in today.values()}
    by_month = {first: _spend(conn, first, periods.next_month(first)) for first in months}
    paid_for = _keys(conn)
    return [
        Account(
            project=project,
            days=calendar.days(project.id),
            today=today[project.id],
            month=_line(by_month[today[project.id].replace(day=1)], project),
            in_all=_line(in_all, project),
            keys=tuple(paid_for.get(project.id, ())),
        )
        for project in all_
    ]


def _spend(conn: Connection, first: date | None, end: date | None) -> dict[str, SpendLine]:
    return {line.id: line for line in spend(conn, "project", first, end, now=now()).lines}


def _line(lines: Mapping[str, SpendLine], project: Project) -> SpendLine:
    return lines.get(project.name) or SpendLine(group=project.name, id=project.name)


def _keys(conn: Connection) -> dict[int, list[str]]:
    """Labels of the keys that each project pays for now."""
    all_ = keys.known(conn)
    payers = keys.payers(conn, [key.id for key in all_])
    found: dict[int, list[str]] = {}
    for key in all_:
        if assignment := payers.at(key.id, now()):
            found.setdefault(assignment.project_id, []).append(key.label)
    return found


def _sheet(accounts: list[Account]) -> Sheet:
    currencies = sorted({code for account in accounts for code in account.in_all.spent})
    columns = (
        Column("project", figure=False),
        Column("keys", spare=2),
        Column("calls this month"),
        *(Column(f"{code} this month") for code in currencies),
        Column("calls in all", spare=1),
        *(Column(f"{code} in all", spare=1) for code in currencies),
        Column("of unknown cost"),
        Column("zone", figure=False, spare=3),
        Column("billed in", figure=False, spare=4),
        Column("first seen", figure=False, spare=5),
    )
    return Sheet(columns, tuple(_cells(account, currencies) for account in accounts))


def _cells(account: Account, currencies: list[str]) -> tuple[Cell, ...]:
    month, in_all, project = account.month, account.in_all, account.project
    return (
        project.name,
        len(account.keys),
        month.calls,
        *(month.spent.get(code) for code in currencies),
        in_all.calls,
        *(in_all.spent.get(code) for code in currencies),
        _of_unknown_cost(in_all),
        account.zone,
        _billed_in_words(account) if project.currency else None,
        f"{project.first_seen_at:%Y-%m-%d}",
    )


def _of_unknown_cost(line: SpendLine) -> int:
    return line.unpriced + line.usage_missing


def _facts(account: Account) -> dict[str, str]:
    project = account.project
    planned = "".join(f", from {first} on {zone}" for first, zone in account.planned)
    return {
        "project": printable(project.name),
        "former names": printable(", ".join(project.former)) or "none",
        "first seen": instant(project.first_seen_at),
        "days of": f"{account.zone}{planned}",
        "billed in": _billed_in_words(account),
        f"{account.today:%Y-%m}": _in_words(account.month),
        "in all": _in_words(account.in_all),
        "keys": printable(", ".join(account.keys)) or _without_keys(project),
    }


def _billed_in_words(account: Account) -> str:
    """The currency, with a remark where something was spent in another."""
    currency = account.project.currency
    if currency is None:
        return "as spent"
    others = ", ".join(code for code in account.in_all.spent if code != currency)
    return f"{currency} (spent: {others})" if others else currency


def _without_keys(project: Project) -> str:
    return "all that no project pays for" if project.name == UNASSIGNED else "none"


def _in_words(line: SpendLine) -> str:
    unknown = _of_unknown_cost(line)
    beside = f"; not in it: what {counted(unknown, 'call')} cost" if unknown else ""
    return f"{counted(line.calls, 'call')}, {money(line.spent)}{beside}"


def _fields(account: Account) -> dict[str, Any]:
    project = account.project
    return {
        "project": project.name,
        "former_names": project.former,
        "first_seen_at": project.first_seen_at,
        "zone": account.zone,
        "zones_to_come": [{"from": first, "zone": zone} for first, zone in account.planned],
        "currency": project.currency,
        "keys": account.keys,
        "month": f"{account.today:%Y-%m}",
        "this_month": _figures(account.month),
        "in_all": _figures(account.in_all),
    }


def _figures(line: SpendLine) -> dict[str, Any]:
    return {
        "calls": line.calls,
        "unpriced": line.unpriced,
        "usage_missing": line.usage_missing,
        "spent": line.spent,
    }
