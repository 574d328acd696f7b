"""`accounting doctor`: whether all is well, in plain words, for people and for monitoring."""

from typing import Annotated, Any

import typer
from rich.text import Text

from accounting.cli import estimates
from accounting.cli.books import AsJson, now, out, put_json
from accounting.doctor import Finding, examine
from accounting.errors import ConfigurationError
from accounting.settings import Settings
from accounting.sheets import counted, printable, say
from accounting.store import open_engine
from accounting.symptoms import Bench
from accounting.verdicts import BAD, State, Verdict

_STYLES = {State.OK: "green", State.LOOK: "yellow", State.BAD: "bold red"}


def doctor(
    as_json: AsJson = False,
    of_estimates: Annotated[
        bool, typer.Option("--estimates", help="Show instead how good the estimates are of what calls used.")
    ] = False,
) -> None:
    """Look at the store, at delivery and at this host, and say what to do; exit with 1 if anything is bad."""
    if of_estimates:
        return estimates.show_errors(as_json)
    try:
        url = Settings().store_url
        engine = open_engine(url)
    except ConfigurationError as error:
        if as_json:
            _put([Finding("settings", Verdict(State.BAD, str(error)))])
            raise typer.Exit(2) from error
        raise
    try:
        findings = []
        for finding in examine(Bench(url, engine, now())):
            findings.append(finding)
            if not as_json:
                _show(finding)
    finally:
        engine.dispose()
    if as_json:
        _put(findings)
    else:
        say(out(), "", _summary(findings))
    raise typer.Exit(1 if _are_bad(findings) else 0)


def _put(findings: list[Finding]) -> None:
    put_json({"healthy": not _are_bad(findings), "checks": [_fields(finding) for finding in findings]})


def _show(finding: Finding) -> None:
    """A line for the finding; on a terminal what to do stands on one of its own."""
    console = out()
    state, said, advice = finding.verdict
    if not console.is_terminal:
        say(console, printable(f"{state:4}  {finding.check:12}  {' → '.join(filter(None, (said, advice)))}"))
        return
    console.print(Text.assemble((f"{state:4}", _STYLES[state]), f"  {finding.check:12}  {printable(said)}"))
    if advice:
        say(console, f"{'':20}{printable(advice)}", style="bold")


def _summary(findings: list[Finding]) -> str:
    bad, look = (sum(finding.verdict.state is state for finding in findings) for state in (BAD, State.LOOK))
    if not bad and not look:
        return f"{counted(len(findings), 'check')}: all is well."
    return f"{counted(len(findings), 'check')}: {bad} bad, {look} to look at."


def _are_bad(findings: list[Finding]) -> bool:
    return any(finding.verdict.state is BAD for finding in findings)


def _fields(finding: Finding) -> dict[str, Any]:
    return {"check": finding.check, **finding.verdict._asdict()}
