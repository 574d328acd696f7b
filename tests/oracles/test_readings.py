"""Our readings of usage, held against those of two other libraries; a difference is none, or has its reason."""

from collections.abc import Iterable, Sequence

import pytest

from accounting.usage import Usage

from .asking import FIELDS, ORACLES, Reading, counts, read_by_us
from .bodies import cases
from .conftest import Answers
from .disagreements import DISAGREEMENTS
from .rules import Disagreement
from .shapes import Case

Difference = tuple[str, Case, object, object]
"""The field (or "error"), the case, what we read and what the oracle said."""


def differences(case: Case, ours: Usage, theirs: Reading) -> Iterable[Difference]:
    if theirs.error is not None:
        yield "error", case, None, theirs.error
        return
    mine = counts(ours)
    for field in FIELDS:
        if mine[field] != theirs.counts[field]:
            yield field, case, mine[field], theirs.counts[field]


def reasons_for(oracle: str, difference: Difference) -> list[Disagreement]:
    field, case, _, theirs = difference
    return [reason for reason in DISAGREEMENTS if reason.explains(oracle, field, case, theirs)]


def told(differences: Sequence[Difference]) -> str:
    """One of each kind."""
    kinds = {(case.shape.name, case.twist, field): (case, ours, theirs) for field, case, ours, theirs in differences}
    lines = [
        f"{shape}, {twist or 'nothing odd'}, {field}: ours {ours}, theirs {theirs}; {case.block}"
        for (shape, twist, field), (case, ours, theirs) in kinds.items()
    ]
    return f"{len(differences)} differences without a reason:\n" + "\n".join(lines[:40])


@pytest.mark.parametrize("oracle", ORACLES)
def test_every_difference_has_a_reason_that_predicts_it(oracle: str, answers: Answers) -> None:
    found = [
        difference
        for case, reading in answers.of(oracle)
        for difference in differences(case, read_by_us(case), reading)
    ]
    unexplained = [difference for difference in found if not reasons_for(oracle, difference)]
    assert not unexplained, told(unexplained)


@pytest.mark.parametrize("reason", DISAGREEMENTS, ids=lambda reason: f"{reason.oracle}: {reason.why}")
def test_each_reason_still_holds(reason: Disagreement, answers: Answers) -> None:
    """Its example shows it; one that has been settled since is to be taken off the list."""
    theirs = answers.to_example(reason)
    ours = read_by_us(reason.case)
    found = {field: difference for difference in differences(reason.case, ours, theirs) if (field := difference[0])}
    assert reason.field in found, f"We read {counts(ours)}, and they {theirs}"
    assert reason in reasons_for(reason.oracle, found[reason.field]), found[reason.field]
    if reason.field != "error":
        assert counts(ours)[reason.field] == reason.ours


def test_there_are_thousands_of_bodies() -> None:
    assert len(list(cases())) > 5_000
