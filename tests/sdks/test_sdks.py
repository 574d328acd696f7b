"""Real SDKs against a provider on loopback: metered callers see no difference, and the books are right."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from accounting.simulator import Received

from .bench import BEHIND_PROXY, KEY
from .runs import Comparison, Row
from .stories import ENDPOINTS, Story, stories_of

# The first test waits for the environment, which may have to be made.
pytestmark = pytest.mark.timeout(900)

COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
STORIES = [
    pytest.param(model, story, id=model)
    for sdk in ENDPOINTS
    for colour in ("sync", "async")
    for model, story in stories_of(sdk, colour).items()
]


def test_every_story_ran(run: Comparison) -> None:
    wanted = {str(parameters.id) for parameters in STORIES}
    assert set(run.plain.results) == set(run.metered.results) == wanted


@pytest.mark.parametrize(("model", "story"), STORIES)
def test_a_metered_caller_gets_what_an_unmetered_one_gets(run: Comparison, model: str, story: Story) -> None:
    plain, metered = (side.results[model] for side in (run.plain, run.metered))
    assert metered == plain
    assert _has_raised(plain) == story.raises, plain


@pytest.mark.parametrize(("model", "story"), STORIES)
def test_each_attempt_is_one_call_in_the_books(run: Comparison, model: str, story: Story) -> None:
    calls = run.calls.get(model, [])
    attempts = list(zip(story.attempts, story.outcomes, strict=True))
    assert _requests(calls) == [attempts] * story.requests
    arrived = len(calls) if story.arrives else 0
    assert len(run.plain.lines(model)) == len(run.metered.lines(model)) == arrived


@pytest.mark.parametrize(("model", "story"), STORIES)
def test_the_books_have_the_tokens_that_the_provider_told(run: Comparison, model: str, story: Story) -> None:
    told = [line.told if story.seen else None for line in run.metered.lines(model)]
    written = [_counts(call) for call in run.calls.get(model, [])]
    assert Counter(written) == Counter(told if story.arrives else [None])


def test_usage_that_more_was_to_follow_is_partial(run: Comparison) -> None:
    known = {
        (model.partition("-")[0], call["stream"], call["outcome"], call["usage_source"])
        for model, calls in run.calls.items()
        for call in calls
        if call["usage_source"] != "missing"
    }
    assert {source for _, _, outcome, source in known if outcome == "finished"} == {"provider"}
    assert {line[:3] for line in known if line[3] == "partial"} == {
        ("anthropic", True, "interrupted"),  # its start says what was put in
        ("anthropic", True, "failed"),
    }


@pytest.mark.parametrize(("model", "story"), STORIES)
def test_the_books_say_who_called_what_and_how(run: Comparison, model: str, story: Story) -> None:
    sdk = model.partition("-")[0]
    fingerprint = hashlib.sha256(KEY.encode()).hexdigest()
    for call in run.calls.get(model, []):
        assert (call["project"], call["project_source"]) == story.project
        assert (call["fingerprint"], call["last4"]) == (fingerprint, KEY[-4:])
        assert call["endpoint"] == (story.endpoint or ENDPOINTS[sdk])
        assert call["provider"].partition(":")[0] == story.provider  # an unknown host, and its port, if it names one
        assert call["stream"] == story.stream
        assert tuple(call["anomalies"]) == story.anomalies
        assert call["tags"]["sdk"] == sdk


def test_attribution_wins_over_what_the_client_was_metered_with(run: Comparison) -> None:
    calls = [calls[0] for model, calls in run.calls.items() if model.endswith("-attributed")]
    assert [call["end_user"] for call in calls] == ["ann"] * 4
    assert [call["tags"]["team"] for call in calls] == ["blue"] * 4


def test_the_clients_own_proxies_and_mounts_are_used(run: Comparison) -> None:
    for side in (run.plain, run.metered):
        proxied = [request.path for request in side.received if request.path.startswith(BEHIND_PROXY)]
        assert len(proxied) == 3 * 2 * 2  # ways to a proxy, SDKs, colours


def test_the_provider_is_asked_the_same_but_for_the_usage_of_streams(run: Comparison) -> None:
    plain, metered = (sorted(map(_asked, side.received)) for side in (run.plain, run.metered))
    assert metered == plain
    asking = [_body(request) for request in run.metered.received if b"include_usage" in request.body]
    assert {body["model"].partition("-")[0] for body in asking} == {"openai"}
    assert all(body["stream"] is True for body in asking)


def test_nothing_failed_on_our_side_and_nothing_is_left_behind(run: Comparison) -> None:
    [source] = run.sources
    assert source["faults"] == {}
    assert (source["open"], source["backlog"], source["contiguous"]) == (0, 0, source["highest"])
    later = sum(story.known_later for colour in ("sync", "async") for story in stories_of("openai", colour).values())
    assert source["highest"] == sum(map(len, run.calls.values())) + later
    assert source["closed_at"] is not None
    assert run.metered.delivered
    assert run.metered.said == run.plain.said


def _has_raised(result: object) -> bool:
    return isinstance(result, dict) and {"error", "said"} <= result.keys()


def _requests(calls: Sequence[Row]) -> list[list[tuple[int, str]]]:
    """The attempts, and how each ended, of the calls that share a link."""
    linked: dict[UUID, list[tuple[int, str]]] = defaultdict(list)
    for call in calls:
        linked[call["link_id"]].append((call["attempt"], call["outcome"]))
    return list(linked.values())


def _counts(call: Row) -> tuple[int, ...] | None:
    """None where the books know of no usage; within a usage what was not stated adds nothing."""
    if call["usage_source"] == "missing":
        assert all(call[count] is None for count in COUNTS)
        return None
    return tuple(call[count] or 0 for count in COUNTS)


def _body(request: Received) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body)
    return body


def _asked(request: Received) -> tuple[str, list[tuple[str, str]], str]:
    """A request as the caller made it: without what asks for usage, and what follows from that; a form's boundary is
    made by chance."""
    _, is_form, boundary = request.header("content-type").partition("boundary=")
    if is_form:
        named = [(name, value.replace(boundary, "")) for name, value in request.headers if name != "host"]
        return request.path, sorted(named), request.body.replace(boundary.encode(), b"").hex()
    body = _body(request)
    body.pop("stream_options", None)
    port = {"host", "content-length"} | ({"accept-encoding"} if body.get("stream") else set())
    headers = sorted((name, value) for name, value in request.headers if name not in port)
    return request.path, headers, json.dumps(body, sort_keys=True)
