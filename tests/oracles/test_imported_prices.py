"""Each call costs by an imported price list what the library says whose list it is, or it is said here why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pytest

from ..sdks.environments import EnvironmentMissing
from .asking import ORACLES
from .conftest import require
from .imported import Imported, Price, imported, priced
from .otherwise import OTHERWISE, REFUSED, Otherwise, Refused, expected
from .test_prices import same

MODELS = {"genai": 4_000, "litellm": 3_700}
"""At least so many are compared."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What each oracle that could be asked makes of its own list."""

    lists: Mapping[str, Imported]
    prices: Mapping[str, Sequence[Price]]
    missing: Mapping[str, str]

    def of(self, oracle: str) -> Sequence[Price]:
        require(oracle, self.missing)
        return self.prices[oracle]


@pytest.fixture(scope="session")
def compared() -> Compared:
    """Without an oracle's environment its tests are skipped, and with CI failed."""
    lists, prices, missing = {}, {}, {}
    for oracle in ORACLES:
        try:
            lists[oracle] = imported(oracle)
            prices[oracle] = priced(oracle, lists[oracle])
        except EnvironmentMissing as error:
            missing[oracle] = str(error)
    return Compared(lists, prices, missing)


def agree(oracle: str, ours: Decimal | None, call: Price) -> bool:
    return ours is not None and call.theirs is not None and same(oracle, ours, call.theirs)


def is_refused(reason: Refused, oracle: str, call: Price) -> bool:
    return reason.oracle == oracle and reason.said in (call.error or "") and bool(reason.when(call))


@pytest.mark.parametrize("oracle", ORACLES)
def test_a_call_costs_by_an_imported_list_what_its_own_library_says(oracle: str, compared: Compared) -> None:
    calls = compared.of(oracle)
    others = [call for call in calls if not any(is_refused(reason, oracle, call) for reason in REFUSED)]
    unexplained = [call for call in others if not agree(oracle, expected(oracle, call), call)]
    assert not unexplained, (len(unexplained), unexplained[0])
    assert len({call.model.named for call in others}) > MODELS[oracle]


@pytest.mark.parametrize("reason", OTHERWISE, ids=lambda reason: reason.why)
def test_each_reason_for_another_price_still_holds(reason: Otherwise, compared: Compared) -> None:
    calls = compared.of(reason.oracle)
    assert any(
        agree(reason.oracle, expected(reason.oracle, call), call)
        and not agree(reason.oracle, expected(reason.oracle, call, without=reason), call)
        for call in calls
    )


@pytest.mark.parametrize("reason", REFUSED, ids=lambda reason: reason.why)
def test_each_reason_for_no_price_still_holds(reason: Refused, compared: Compared) -> None:
    assert any(is_refused(reason, reason.oracle, call) for call in compared.of(reason.oracle))


def test_every_entry_of_a_price_map_is_compared_or_was_left_out_with_a_reason(compared: Compared) -> None:
    assert compared.of("litellm")
    assert compared.lists["litellm"].untold == []


@pytest.mark.parametrize("oracle", ORACLES)
def test_nearly_all_calls_need_no_reason(oracle: str, compared: Compared) -> None:
    calls = compared.of(oracle)
    plain = [call for call in calls if agree(oracle, call.ours, call)]
    assert len(plain) / len(calls) > 0.95
