"""What must never be kept: keys, prompts and completions."""

import json
import logging

import pytest

from accounting import recorder
from accounting.usage import Outcome
from tests.capture.answers import CHAT, MESSAGES, USAGE, events
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled
from tests.capture.wire import Server, plain, stream
from tests.test_credentials import hourly

KEY, PROMPT, COMPLETION = "sk-canary-key-0123456789", "canary prompt", "canary completion"
CANARIES = (KEY, PROMPT, COMPLETION)
WORDS = {"id": "c-1", "model": "gpt-x", "choices": [{"delta": {"content": COMPLETION}, "finish_reason": "stop"}]}
WHOLE = {"id": "c-1", "model": "gpt-x", "choices": [{"message": {"content": COMPLETION}}], "usage": USAGE}
ASK = {"model": "gpt-x", "messages": [{"role": "user", "content": PROMPT}]}

ANSWERS = {
    "plain": plain(json.dumps(WHOLE).encode()),
    "stream": stream(b"".join(events(WORDS, {"choices": [], "usage": USAGE}, "[DONE]"))),
    "cut": stream(b"".join(events(WORDS)))[:-5],
    "refused": plain(json.dumps({"error": {"message": f"bad key {KEY} for {PROMPT}"}}).encode(), 401),
    "failed": stream(b"".join(events(WORDS, {"error": {"message": COMPLETION}}))),
    "broken": plain(json.dumps(WHOLE).encode()[:-9]),
    "no answer": b"",
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/responses"])
def test_no_key_prompt_or_completion_is_kept_or_told(
    path: str, answer: str, server: Server, caller: Caller, journaled: Journaled, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "accounting")
    server.says(ANSWERS[answer])
    headers = {"authorization": f"Bearer {KEY}"} if path == CHAT else {"x_api_key": KEY}
    caller.post(server.url + path, {**ASK, "stream": answer not in ("plain", "broken")}, **headers)

    call = journaled.only()
    assert (call.key_last4, call.outcome is None) == ("6789", False)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("accounting")]
    kept = [journaled.bytes(), repr(call).encode(), call.encode(), "\n".join(ours).encode()]
    told = b"\n".join([*kept, repr(caller.client._transport).encode(), repr(recorder.recorder()).encode()])
    assert call.key_fingerprint.encode() in told
    assert [canary for canary in CANARIES if canary.encode() in told] == []


def test_of_a_token_nothing_is_kept_but_the_end_of_its_subject(
    server: Server, caller: Caller, journaled: Journaled, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "accounting")
    server.says(ANSWERS["plain"])
    tokens = [hourly(hour, sub="canary-subject-0001", email="canary@example.org") for hour in (1, 2)]
    for token in tokens:
        caller.post(server.url + CHAT, ASK, authorization=f"Bearer {token}")

    first, second = journaled.calls()
    assert first.key_fingerprint == second.key_fingerprint
    assert first.key_last4 == second.key_last4 == "0001"
    told = journaled.bytes() + caplog.text.encode()
    parts = [part for token in tokens for part in token.split(".")[1:]]
    assert [text for text in ("canary-subject", "canary@example.org", *parts) if text.encode() in told] == []


def test_a_fault_of_ours_tells_nothing_of_the_call(
    server: Server,
    caller: Caller,
    journaled: Journaled,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(" ".join(CANARIES))

    caplog.set_level(logging.DEBUG, "accounting")
    monkeypatch.setattr("accounting.capture.Tap.read", fail)
    server.says(ANSWERS["plain"])
    assert caller.post(server.url + CHAT, ASK).body == json.dumps(WHOLE).encode()

    assert journaled.outcomes() == [Outcome.UNKNOWN]
    assert sum(journaled.faults().values()) == 1
    recorder.recorder().faults._counts.clear()
    told = caplog.text.encode() + journaled.bytes()
    assert [canary for canary in CANARIES if canary.encode() in told] == []
