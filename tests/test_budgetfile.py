import os
from pathlib import Path

import pytest

from accounting import budgetfile
from accounting.coverage import NOTHING
from tests.capture.gates import LENIENT, SOFT, TEAM, covering


def test_what_was_kept_is_known(tmp_path: Path) -> None:
    file = tmp_path / "below" / "budgets.json"
    kept = covering(TEAM, LENIENT, SOFT)
    budgetfile.keep(file, kept)
    known = budgetfile.known(file)
    assert known is not None
    assert known.encode() == kept.encode()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["budgets.json"]


def test_that_there_is_no_budget_is_known_too(tmp_path: Path) -> None:
    budgetfile.keep(tmp_path / "budgets.json", NOTHING)
    known = budgetfile.known(tmp_path / "budgets.json")
    assert known is not None
    assert not known.budgets


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff", b'{"version": 99}', b" " * (budgetfile.MAX_BYTES + 1)])
def test_a_file_that_is_none_of_ours_says_nothing_and_is_replaced(payload: bytes, tmp_path: Path) -> None:
    file = tmp_path / "budgets.json"
    assert budgetfile.known(file) is None, "it is not there"
    file.write_bytes(payload)
    assert budgetfile.known(file) is None
    budgetfile.keep(file, covering(TEAM))
    assert budgetfile.known(file) is not None


def test_a_file_is_fresh_for_a_moment_after_somebody_asked(tmp_path: Path) -> None:
    file = tmp_path / "budgets.json"
    assert not budgetfile.is_fresh(file)
    budgetfile.keep(file, covering(TEAM))
    assert budgetfile.is_fresh(file)
    for off in (-60, 60):  # a clock that was set back makes nothing fresh for long
        os.utime(file, (file.stat().st_mtime + off,) * 2)
        assert not budgetfile.is_fresh(file)
        budgetfile.keep(file, covering(TEAM))
        assert budgetfile.is_fresh(file), "the same again"
