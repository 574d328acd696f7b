"""`accounting verify`: the laws of the books, checked on the user's data."""

from typing import Any

import typer
from rich.progress import Progress

from accounting import verify as laws
from accounting.cli.books import AsJson, books, err, out, put_json
from accounting.sheets import counted, say


def verify(as_json: AsJson = False) -> None:
    """Recompute every sum from the calls; name each figure that is not what it should be, and exit with 1."""
    with books() as engine, Progress(console=err(), transient=True, disable=not err().is_terminal) as bar:
        task = bar.add_task("Reading calls", total=None)
        found = laws.verify(engine, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        put_json(_fields(found))
    else:
        say(out(), *map(str, found.differences), _verdict(found))
    raise typer.Exit(0 if found.balanced else 1)


def _verdict(found: laws.Verification) -> str:
    checked = f"{counted(found.calls, 'call')} checked, {found.rolled:,} of them rolled up"
    if found.balanced:
        return f"{checked}: calls, quarter hours and days agree to the last digit."
    return f"{checked}: {counted(len(found.differences), 'figure')} not as expected."


def _fields(found: laws.Verification) -> dict[str, Any]:
    names = ("table", "key", "column", "expected", "found")
    return {
        "calls": found.calls,
        "rolled": found.rolled,
        "differences": [{name: getattr(one, name) for name in names} for one in found.differences],
    }
