"""Runs each generation of SDKs once for all tests here."""

import os

import pytest

from ..summaries import said_at_the_end
from .environments import GENERATIONS, EnvironmentMissing, Generation
from .runs import Comparison, compare


@pytest.fixture(scope="session", params=GENERATIONS, ids=lambda generation: generation.name)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A generation's stories without and with metering. Without its environment: skipped, with CI failed."""
    generation: Generation = request.param
    ran = said_at_the_end(request.config)
    try:
        comparison = compare(generation, tmp_path_factory.mktemp(generation.name))
    except EnvironmentMissing as missing:
        ran[f"SDKs, {generation.name}"] = "did not run"
        reason = f"No environment for {generation.name}: {missing}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    ran[f"SDKs, {generation.name}"] = " + ".join(
        f"{name} {version}" for name, version in comparison.metered.versions.items()
    )
    return comparison
