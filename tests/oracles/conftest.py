"""Asks each oracle once, about everything that the tests here want to know."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from ..sdks.environments import EnvironmentMissing
from .asking import ORACLES, Reading, asked
from .bodies import cases
from .catalogued import catalogued
from .disagreements import DISAGREEMENTS
from .rules import Disagreement
from .shapes import Case


def require(oracle: str, missing: Mapping[str, str]) -> None:
    """Skip the test where the oracle could not be asked, and say why; with CI it fails."""
    if oracle in missing:
        reason = f"No environment for {oracle}: {missing[oracle]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the oracles said of all bodies, and of each reason's example."""

    cases: Sequence[Case]
    readings: Mapping[str, Sequence[Reading | None]]
    missing: Mapping[str, str]
    """Why an oracle could not be asked."""

    def of(self, oracle: str) -> Iterator[tuple[Case, Reading]]:
        """Those cases that the oracle can be asked about."""
        require(oracle, self.missing)
        for case, reading in zip(self.cases, self.readings[oracle], strict=False):
            if reading is not None:
                yield case, reading

    def to_example(self, reason: Disagreement) -> Reading:
        require(reason.oracle, self.missing)
        reading = self.readings[reason.oracle][len(self.cases) + DISAGREEMENTS.index(reason)]
        assert reading is not None, f"{reason.oracle} reads no {reason.shapes[0]}"
        return reading


@pytest.fixture(scope="session")
def answers() -> Answers:
    """Without an oracle's environment its tests are skipped, and with CI failed."""
    everything = [*cases(), *catalogued()]
    examples = [reason.case for reason in DISAGREEMENTS]
    readings, missing = {}, {}
    for oracle in ORACLES:
        try:
            readings[oracle] = asked(oracle, [*everything, *examples])
        except EnvironmentMissing as error:
            missing[oracle] = str(error)
    return Answers(everything, readings, missing)
