from datetime import timedelta
from typing import Any

import pytest

from accounting.aliases import Rule
from accounting.coverage import Bound, Coverage
from accounting.decisions import Mode, WhenAway
from accounting.scopes import Kind, Scope
from tests.books import NOON, made


def bound(scope: Scope, mode: Mode = Mode.HARD) -> Bound:
    return Bound(1, "b", scope, "for people", mode, WhenAway.REFUSE)


def knowing(scope: Scope) -> Coverage:
    return Coverage(
        edition=(3, 4),
        budgets=(bound(scope),),
        projects={"checkout": 7, "till": 7},
        keys={"f" * 64: 5},
        payers={"e" * 64: ((NOON - timedelta(days=1), 7), (NOON + timedelta(days=1), None))},
        default=9,
        rules=(Rule("", "{model}-{date}", "{model}"),),
    )


@pytest.mark.parametrize(
    ("scope", "changes", "is_covered"),
    [
        (Scope(Kind.ALL), {}, True),
        (Scope(Kind.PROJECT, 7), {"project": "checkout"}, True),
        (Scope(Kind.PROJECT, 7), {"project": "till"}, True),
        (Scope(Kind.PROJECT, 7), {"project": "search"}, False),
        (Scope(Kind.PROJECT, 7), {"project": None, "key_fingerprint": "e" * 64}, True),
        (Scope(Kind.PROJECT, 9), {"project": None, "key_fingerprint": "d" * 64}, True),
        (Scope(Kind.PROJECT, 9), {"project": None, "key_fingerprint": "e" * 64}, False),
        (Scope(Kind.KEY, 5), {"key_fingerprint": "f" * 64}, True),
        (Scope(Kind.KEY, 5), {"key_fingerprint": "e" * 64}, False),
        (Scope(Kind.MODEL, name="gpt-4o"), {"request_model": "gpt-4o-2024-08-06", "response_model": None}, True),
        (Scope(Kind.MODEL, name="gpt-4o"), {"request_model": "gpt-4o-mini", "response_model": None}, False),
        (Scope(Kind.MODEL, name="gpt-4*"), {"request_model": "gpt-4o-mini", "response_model": None}, True),
        (Scope(Kind.PROVIDER, name="wcode"), {"provider": "wcode"}, True),
        (Scope(Kind.USER, name="ann"), {"user": "ann"}, True),
        (Scope(Kind.USER, name="ann"), {"user": None}, False),
        (Scope(Kind.TAG, name="feature", value="x"), {"tags": {"feature": "x"}}, True),
        (Scope(Kind.TAG, name="feature", value="x"), {"tags": {"feature": "y"}}, False),
    ],
)
def test_a_process_knows_which_budgets_cover_a_call(scope: Scope, changes: dict[str, Any], is_covered: bool) -> None:
    for coverage in (knowing(scope), Coverage.decode(knowing(scope).encode())):
        assert bool(coverage.covering(made(NOON, **changes))) is is_covered


def test_who_pays_for_a_key_is_told_by_when_the_call_began() -> None:
    coverage = knowing(Scope(Kind.PROJECT, 7))
    before = made(NOON - timedelta(days=2), project=None, key_fingerprint="e" * 64)
    after = made(NOON + timedelta(days=2), project=None, key_fingerprint="e" * 64)
    assert not coverage.covering(before)
    assert not coverage.covering(after)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"version":2}', b'{"version":1,"edition":[1]}'])
def test_a_file_of_another_hand_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"Not a coverage|version|Expecting|unpack"):
        Coverage.decode(payload)
