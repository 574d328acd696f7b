"""Environments for generations of SDKs that can't share one: made once by pip, then kept in a cache.

`ACCOUNTING_TEST_CACHE` says where, else it is the user's cache directory. An environment holds what this project
needs to run (unless the generation is asked about things alone), but not the project: that is the checkout, on
PYTHONPATH.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

CHECKOUT = Path(__file__).parents[2]
SECONDS = 600


@dataclass(frozen=True, slots=True)
class Generation:
    """SDKs that can be installed together, by default with what this project needs to run beside them."""

    name: str
    requirements: tuple[str, ...]
    runs_us: bool = True


GENERATIONS = (
    Generation("openai2-anthropic0", ("openai>=2,<3", "anthropic>=0.125,<1")),  # on httpx
    Generation("openai3-anthropic2", ("openai>=3,<4", "anthropic>=2,<3")),  # on httpx2
)


class EnvironmentMissing(Exception):
    """Not in the cache, and it can't be made: there is no network, or the pins contradict each other."""


def python_for(generation: Generation) -> Path:
    """The interpreter of the generation's environment. Raises `EnvironmentMissing`."""
    requirements = sorted((*generation.requirements, *(_needed_to_run() if generation.runs_us else ())))
    cache = _cache()
    home = cache / f"{generation.name}-{_key(requirements)}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_suffix(".lock")):
        if not home.exists():
            _make(home, requirements)
    return _python(home)


def _needed_to_run() -> list[str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    return [str(requirement) for requirement in project["dependencies"]]


def _cache() -> Path:
    chosen = os.environ.get("ACCOUNTING_TEST_CACHE")
    return Path(chosen).absolute() if chosen else user_cache_path("accounting-tests", appauthor=False)


def _key(requirements: list[str]) -> str:
    """Another Python or machine is another environment, and so are other pins."""
    made_of = "\n".join((sys.version, sys.base_prefix, platform.machine(), *requirements))
    return hashlib.sha256(made_of.encode()).hexdigest()[:12]


def _python(home: Path) -> Path:
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _make(home: Path, requirements: list[str]) -> None:
    """Make it beside its place, so that what stands there is whole whoever was killed in the meantime."""
    making = Path(tempfile.mkdtemp(prefix="making-", dir=home.parent))
    try:
        _run(sys.executable, "-m", "venv", str(making))
        _run(str(_python(making)), "-m", "pip", "install", "--quiet", "--retries", "2", *requirements)
        making.rename(home)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentMissing(f"{' '.join(command[1:4])} took more than {SECONDS} s") from error
    if done.returncode:
        said = "; ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR")) or done.stderr[-500:]
        raise EnvironmentMissing(f"{' '.join(command[1:4])} failed: {said}")
