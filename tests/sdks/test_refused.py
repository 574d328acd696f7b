"""What users of real SDKs meet when a budget refuses a call: their SDK's own error, at once, and all that it says."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from accounting.refusals import exceeded

from .environments import GENERATIONS, EnvironmentMissing, Generation, python_for
from .refused_driver import REFUSAL
from .runs import SECONDS, environment
from .test_google import GOOGLE

# The first test waits for the environment, which may have to be made.
pytestmark = pytest.mark.timeout(900)

STATUS_ERRORS = {"APIStatusError", "APIError"}  # Google's has no class of its own for statuses
WAYS = {
    "openai": ("whole", "streamed", "raw", "responses", "embeddings"),
    "anthropic": ("whole", "streamed", "raw", "beta"),
    "google-httpx": ("whole", "embedded", "interaction", "interaction_streamed"),
    "google-httpx2": ("whole", "embedded", "interaction", "interaction_streamed"),
}
EXPECTED = {
    *(f"{sdk}-{colour}-{what}" for sdk in WAYS for colour in ("sync", "async") for what in WAYS[sdk]),
    *(f"google-{library}-sync-streamed" for library in ("httpx", "httpx2")),
}


@pytest.fixture(scope="module", params=[*GENERATIONS, GOOGLE], ids=lambda generation: generation.name)
def generation(request: pytest.FixtureRequest) -> Generation:
    made: Generation = request.param
    try:
        python_for(made)
    except EnvironmentMissing as missing:
        reason = f"No environment for {made.name}: {missing}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return made


def _raised(generation: Generation, directory: Path, way: str) -> dict[str, Any]:
    command = [str(python_for(generation)), "-m", "tests.sdks.refused_driver", way]
    around = environment(directory)
    done = subprocess.run(
        command, cwd=directory, env=around, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("way", ["made", "sent"])
def test_an_sdk_raises_its_own_error_at_once_and_it_tells_all(generation: Generation, tmp_path: Path, way: str) -> None:
    raised = _raised(generation, tmp_path, way)
    assert set(raised) == {what for what in EXPECTED if what.partition("-")[0] in generation.name}
    error = exceeded(REFUSAL)
    told = {name: str(value) for name, value in vars(error).items()}
    for what, got in raised.items():
        assert STATUS_ERRORS & {*got["error"]}, what
        assert (got["status"], got["asked"]) == (402, 1), what  # asked again, it would be two
        assert got["message"] == str(error), what
        assert got["told"] == told, what
