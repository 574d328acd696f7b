"""Runs each generation of SDKs once for all tests here, and says at the end which versions ran."""

import os

import pytest

from .environments import GENERATIONS, EnvironmentMissing, Generation
from .runs import Comparison, compare

_ran = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session", params=GENERATIONS, ids=lambda generation: generation.name)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A generation's stories without and with metering. Without its environment: skipped, with CI failed."""
    generation: Generation = request.param
    ran = request.config.stash.setdefault(_ran, {})
    try:
        comparison = compare(generation, tmp_path_factory.mktemp(generation.name))
    except EnvironmentMissing as missing:
        ran[generation.name] = "did not run"
        reason = f"No environment for {generation.name}: {missing}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    ran[generation.name] = " + ".join(f"{name} {version}" for name, version in comparison.metered.versions.items())
    return comparison


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for generation, versions in config.stash.get(_ran, {}).items():
        terminalreporter.write_line(f"SDKs, {generation}: {versions}")
