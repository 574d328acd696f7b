"""No answer, however spoilt, breaks the reading of it; what was found to, once, is kept in `cases`."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.extraction import read
from tests.fuzz.invariants import PATHS, holds, holds_in_every_format
from tests.fuzz.mutations import ROWS, spoilt, spoilt_values

CASES = sorted((Path(__file__).parent / "cases").iterdir())

PARSED = [row for row in ROWS if isinstance(row.sent, dict | list)]

fuzzed = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_was_found_once_holds_for_good(case: Path) -> None:
    holds_in_every_format(case.read_bytes())


@fuzzed
@given(data=st.data())
def test_a_spoilt_answer_is_read_as_what_it_was(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(ROWS))
    body = data.draw(spoilt(row))
    holds(read(body, provider=row.provider, path=row.path, content_type=row.content_type))


@fuzzed
@given(data=st.data())
def test_a_spoilt_answer_is_read_by_its_shape(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(ROWS))
    holds(read(data.draw(spoilt(row)), provider=row.provider))


@fuzzed
@given(data=st.data())
def test_a_spoilt_answer_is_read_as_another_endpoint_s(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(ROWS))
    body = data.draw(st.just(row.body) | spoilt(row))
    holds(read(body, provider=row.provider, path=data.draw(st.sampled_from(PATHS))))


@fuzzed
@given(data=st.data())
def test_a_spoilt_answer_that_somebody_else_parsed_is_read(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(PARSED))
    value = data.draw(spoilt_values(row.sent).filter(lambda value: isinstance(value, dict | list)))
    holds(read(value, provider=row.provider, path=data.draw(st.sampled_from(["", row.path]))))
