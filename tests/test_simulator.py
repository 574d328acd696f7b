"""The simulated provider over real sockets."""

import hashlib
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import accounting
from accounting.simulated.ledger import Tokens
from accounting.simulator import Simulator

CHAT, MESSAGES = "/v1/chat/completions", "/anthropic/v1/messages"
Ask = Callable[..., httpx.Response]


@pytest.fixture
def provider() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def ask(provider: Simulator) -> Iterator[Ask]:
    """Ask a question; `script` is how to answer it."""
    with httpx.Client(base_url=provider.url, headers={"authorization": "Bearer sk-test"}) as client:

        def post(script: str = "", path: str = CHAT, **more: Any) -> httpx.Response:
            body = {"model": "sim/chat", "messages": [{"role": "user", "content": "Hello"}]} | more
            return client.post(path, json=body, headers={"x-simulate": script}, timeout=5)

        yield post


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_a_line_says_who_asked_for_what_and_what_it_took(provider: Simulator, ask: Ask) -> None:
    usage = ask("output=210").json()["usage"]

    (line,) = provider.ledger
    assert line.key == hashlib.sha256(b"sk-test").hexdigest()
    assert (line.endpoint, line.model, line.stream, line.status) == ("chat/completions", "sim/chat", False, 200)
    assert line.outcome == "finished"
    assert line.told == line.charged
    assert (line.charged.input, line.charged.output) == (usage["prompt_tokens"], 210)


@pytest.mark.parametrize("path", [CHAT, "/api/gpt/v1/chat/completions?x=1", MESSAGES, "/api/anthropic/messages"])
@pytest.mark.parametrize("script", ["", "gzip", "deflate", "chunk=1", "chunk=3,500", "length", "until-close", "close"])
@pytest.mark.parametrize("stream", [True, False])
def test_every_way_of_sending_says_the_same(ask: Ask, path: str, script: str, stream: bool) -> None:
    assert ask(script, path, stream=stream).text == ask("", path, stream=stream).text


@pytest.mark.parametrize("script", ["crlf", "cr", "bom", "comments"])
def test_streams_may_look_different_and_say_the_same(provider: Simulator, ask: Ask, script: str) -> None:
    odd, plain = ask(script, stream=True).text, ask("", stream=True).text

    assert odd != plain
    assert _data(odd) == _data(plain)


def _data(stream: str) -> list[str]:
    lines = re.split("\r\n|\r|\n", stream.removeprefix("\ufeff"))
    return [line for line in lines if line.startswith("data:")]


@pytest.mark.parametrize(("status", "path"), [(400, CHAT), (429, CHAT), (500, MESSAGES), (529, MESSAGES)])
def test_errors_cost_nothing_and_tell_nothing(provider: Simulator, ask: Ask, status: int, path: str) -> None:
    response = ask(f"status={status}; retry-after=7", path)

    assert response.status_code == status
    assert response.headers["retry-after"] == "7"
    assert response.json()["error"]["message"]
    (line,) = provider.ledger
    assert (line.status, line.outcome, line.charged, line.told) == (status, "failed", Tokens(), None)


def test_a_kind_of_request_can_fail_a_number_of_times_and_then_succeed(ask: Ask) -> None:
    assert [ask("status=503; times=2").status_code for _ in range(3)] == [503, 503, 200]


def test_a_redirect_leads_to_the_same_place_once(provider: Simulator, ask: Ask) -> None:
    response = ask("redirect=307")
    assert response.next_request is not None
    with httpx.Client() as client:
        assert client.send(response.next_request).status_code == 200

    assert [(line.status, line.outcome) for line in provider.ledger] == [(307, "failed"), (200, "finished")]


def test_a_provider_may_refuse_to_be_asked_for_usage(ask: Ask) -> None:
    refused = ask("refuse-usage", stream=True, stream_options={"include_usage": True})

    assert refused.status_code == 400
    assert "stream_options" in refused.json()["error"]["message"]
    assert ask("refuse-usage", stream=True).status_code == 200


@pytest.mark.parametrize(
    ("script", "error", "outcome"),
    [
        ("drop", httpx.RemoteProtocolError, "unknown"),
        ("cut=0", httpx.RemoteProtocolError, "interrupted"),
        ("cut=-1", httpx.RemoteProtocolError, "interrupted"),
        ("cut=100%", httpx.RemoteProtocolError, "finished"),  # all events are there, the end of the body is not
        ("cut=50%; reset", httpx.ReadError, "interrupted"),
    ],
)
def test_a_connection_can_end_anywhere(
    provider: Simulator, ask: Ask, script: str, error: type[Exception], outcome: str
) -> None:
    with pytest.raises(error):
        ask(script, stream=True)

    assert provider.ledger[0].outcome == outcome


def test_what_is_known_at_a_cut_is_what_was_sent_before_it(provider: Simulator) -> None:
    """At every offset of a stream: usage is told from the end of its event on, and the end by [DONE]."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    question = json.dumps({"model": "sim/chat", "messages": [], **options})
    whole = _cut_answer(provider, question, "")
    for cut in range(0, len(whole), 41):
        got = _cut_answer(provider, question, f"cut={cut}; chunk=97")
        line = provider.ledger[-1]
        assert got == whole[:cut]
        assert (line.told is not None) == (b'"prompt_tokens"' in got.rpartition(b"\n\n")[0])
        assert line.outcome == "interrupted"


def _cut_answer(provider: Simulator, question: str, script: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", int(provider.url.rpartition(":")[2]))
    headers = {"authorization": "Bearer sk-test", "x-simulate": script}
    connection.request("POST", CHAT, question, headers)
    try:
        return connection.getresponse().read()
    except http.client.IncompleteRead as error:
        return error.partial
    finally:
        connection.close()


def test_a_stalled_answer_waits_until_the_client_leaves(provider: Simulator, ask: Ask) -> None:
    with (
        httpx.Client(base_url=provider.url, headers={"x-api-key": "sk", "x-simulate": "stall=event3"}) as client,
        client.stream("POST", MESSAGES, json={"model": "m", "stream": True}) as response,
    ):
        arriving = response.iter_raw()
        assert b"message_start" in next(arriving)
        until(lambda: provider.held == 1)
    until(lambda: provider.held == 0 and provider.ledger[0].left)

    assert provider.ledger[0].outcome == "interrupted"


def test_an_answer_can_be_late(provider: Simulator, ask: Ask) -> None:
    started = time.monotonic()
    ask("wait=0.1; pause=0.02; events=3", stream=True)

    assert time.monotonic() - started > 0.1 + 5 * 0.02


def test_closing_lets_go_of_all_who_wait() -> None:
    with Simulator() as provider, httpx.Client() as client:
        request = client.build_request("POST", provider.url + CHAT, json={"stream": True}, headers={"x-api-key": "k"})
        request.headers["x-simulate"] = "stall=0"
        response = client.send(request, stream=True)
        until(lambda: provider.held == 1)
        provider.close()
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()


def test_a_body_can_be_any_bytes(provider: Simulator, ask: Ask) -> None:
    provider.bodies["odd"] = b"\xff not JSON"

    assert ask("body=odd; chunk=2").content == b"\xff not JSON"
    assert provider.ledger[0].told is None
    assert ask("body=unknown").status_code == 418


def test_a_script_that_means_nothing_is_answered_with_its_fault(provider: Simulator, ask: Ask) -> None:
    response = ask("shunk=1")

    assert (response.status_code, provider.ledger) == (418, ())
    assert "'shunk' is none of" in response.json()["error"]["message"]


def test_what_costs_nothing_is_in_no_ledger(provider: Simulator, ask: Ask) -> None:
    assert ask(path="/anthropic/v1/messages/count_tokens").json() == {"input_tokens": 12}
    assert ask(path="/v1/nonsense").status_code == 404
    assert httpx.get(f"{provider.url}/v1/models").json()["object"] == "list"
    assert httpx.head(f"{provider.url}/anthropic/api/hello").status_code == 200
    assert provider.ledger == ()


def test_requests_are_kept_as_they_came_in(provider: Simulator) -> None:
    httpx.post(provider.url + CHAT, content=iter([b'{"model":', b'"m"}']), headers={"X-Api-Key": "sk-b"})

    (received,) = provider.received
    assert (received.method, received.path, received.body) == ("POST", CHAT, b'{"model":"m"}')
    assert received.header("x-api-key") == "sk-b"
    assert provider.ledger[0].model == "m"


def test_another_process_can_read_the_ledger(provider: Simulator, ask: Ask) -> None:
    ask("input=15; cached=0; output=210; reasoning=0")

    (line,) = httpx.get(f"{provider.url}/ledger").json()
    assert (line["number"], line["outcome"], line["told"]) == (1, "finished", [15, 0, 0, 210, 0])


def test_the_provider_knows_nothing_of_how_its_answers_are_read_or_priced() -> None:
    """Checked in the sources: two sums that are held against each other must not share arithmetic."""
    root = Path(accounting.__file__).parent
    for file in [root / "simulator.py", *(root / "simulated").glob("*.py")]:
        imports = re.findall(r"(?m)^\s*(?:from|import) (accounting[.\w]*)", file.read_text("utf-8"))
        assert all(name.startswith("accounting.simulated") for name in imports), file


RESPONSES = "/v1/responses"


def test_a_response_in_the_background_is_told_to_who_polls_it(provider: Simulator, ask: Ask) -> None:
    made = ask(path=RESPONSES, input="Why?", background=True).json()
    assert (made["status"], made["usage"]) == ("queued", None)
    assert (provider.ledger[0].outcome, provider.ledger[0].told) == ("interrupted", None)
    first, second = (httpx.get(f"{provider.url}{RESPONSES}/{made['id']}").json() for _ in range(2))
    assert (first["status"], second["status"]) == ("in_progress", "completed")
    (line,) = provider.ledger
    assert (line.outcome, line.told) == ("finished", line.charged)
    assert second["usage"]["total_tokens"] == line.charged.input + line.charged.output


def test_a_streamed_response_can_be_taken_up_again_behind_any_event(provider: Simulator, ask: Ask) -> None:
    whole = ask("events=3", RESPONSES, input="Why?", stream=True).text.split("\n\n")
    id_ = re.search(r"resp_\w+", whole[0])
    assert id_ is not None
    for after in range(5):
        again = httpx.get(f"{provider.url}{RESPONSES}/{id_[0]}?stream=true&starting_after={after}").text
        assert again.split("\n\n") == whole[after + 1 :]


def test_nobody_else_s_response_can_be_polled(provider: Simulator) -> None:
    assert httpx.get(f"{provider.url}{RESPONSES}/resp_of_nobody").status_code == 404


def test_a_form_asks_as_well(provider: Simulator) -> None:
    fields, files = {"model": "sim/chat"}, {"file": ("a.wav", b"RIFF")}
    headers = {"authorization": "Bearer sk-test"}
    heard = httpx.post(f"{provider.url}/v1/audio/transcriptions", data=fields, files=files, headers=headers).json()
    (line,) = provider.ledger
    assert (line.model, line.endpoint) == ("sim/chat", "audio/transcriptions")
    assert heard["usage"]["output_tokens"] == line.charged.output
