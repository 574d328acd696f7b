"""What a run of the tests says at its end, from whichever of its processes it comes."""

from typing import Any

import pytest

_SAID = pytest.StashKey[dict[str, str]]()


def said_at_the_end(config: pytest.Config) -> dict[str, str]:
    """Lines to be added to: a title, and what it is about."""
    return config.stash.setdefault(_SAID, {})


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)  # of a process of pytest-xdist
    if output is not None:
        output["said_at_the_end"] = dict(said_at_the_end(session.config))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    said_at_the_end(node.config).update(getattr(node, "workeroutput", {}).get("said_at_the_end", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, what in said_at_the_end(config).items():
        terminalreporter.write_line(f"{title}: {what}")
