"""In which form an answer is given: text for people, JSON or CSV for programs."""

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Annotated

import typer

from accounting.cli.books import out
from accounting.errors import ConfigurationError
from accounting.sheets import csv_line

AsCsv = Annotated[bool, typer.Option("--csv", help="CSV (RFC 4180, UTF-8) with the columns of --json.")]
AsExcel = Annotated[bool, typer.Option("--csv-excel", help="The same with the mark by which Excel knows UTF-8.")]

_MARK = "\ufeff"


class Form(Enum):
    TEXT = auto()
    JSON = auto()
    CSV = auto()
    EXCEL = auto()

    @property
    def is_csv(self) -> bool:
        return self in (Form.CSV, Form.EXCEL)


def form(as_json: bool, as_csv: bool, as_excel: bool) -> Form:
    """The form that the options name; raises where they name several."""
    options = {"--json": (as_json, Form.JSON), "--csv": (as_csv, Form.CSV), "--csv-excel": (as_excel, Form.EXCEL)}
    named = {option: form for option, (given, form) in options.items() if given}
    if len(named) > 1:
        raise ConfigurationError(f"{' and '.join(named)} can't be had in one answer; leave out all but one.")
    return next(iter(named.values()), Form.TEXT)


def put_csv(form: Form, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A heading and a line for each row, as they come."""
    shown = out().is_terminal
    typer.echo((_MARK * (form is Form.EXCEL) + csv_line(columns, shown)).encode(), nl=False)
    for row in rows:
        # As bytes: a terminal's encoding may lack what a name is written in, and Windows would end lines twice.
        typer.echo(csv_line(row, shown).encode(), nl=False)
