"""`accounting demo`: a first look without a key."""

import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from accounting import demo as story
from accounting.cli.books import out


def demo(
    directory: Annotated[
        Path | None, typer.Option(help="Where its store and journals go; a new temporary folder if left out.")
    ] = None,
    calls: Annotated[int, typer.Option(min=1, help="How many calls to make.")] = 2000,
) -> None:
    """Meter calls to a simulated provider and hold the books against its own ledger. Your books are not touched."""
    where = directory or Path(tempfile.mkdtemp(prefix="accounting-demo-"))
    # Run as .venv/bin/accounting, without the environment being active, that is what has to be typed next, too.
    program = "accounting" if shutil.which("accounting") else shlex.quote(sys.argv[0])
    compared = story.run(where, out(), calls, program)
    raise typer.Exit(0 if compared.agrees else 1)
