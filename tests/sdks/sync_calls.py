"""Stories with a sync client. What each leaves in the books stands in `stories.py`."""

import gc
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from .bench import BEHIND_PROXY, ONCE_BUSY, Bench, Result, failure, http_library, told

STORIES: dict[str, Callable[[Bench], Result]] = {}


def story(made: Callable[[Bench], Result]) -> Callable[[Bench], Result]:
    STORIES[made.__name__] = made
    return made


def read(stream: Iterable[Any]) -> Result:
    """All that comes out of a stream, the error that ends it too."""
    got = []
    try:
        for event in stream:
            got.append(told(event))
    except Exception as error:
        return {"got": got, **failure(error)}
    return got


def whole_with(at: Bench, script: str, **options: Any) -> Result:
    with at.client(**options) as client:
        return told(at.sdk.calls(client).create(**at.ask(script)))


def streamed_with(at: Bench, script: str, **more: Any) -> Result:
    return streamed_by(at.client(), at, script, **more)


def streamed_by(client: Any, at: Bench, script: str, **more: Any) -> Result:
    with client, at.sdk.calls(client).create(**at.ask(script, stream=True, **more)) as stream:
        return read(stream)


@story
def whole(at: Bench) -> Result:
    return whole_with(at, "")


@story
def whole_gzipped(at: Bench) -> Result:
    return whole_with(at, "gzip")


@story
def streamed(at: Bench) -> Result:
    return streamed_with(at, "")


@story
def streamed_gzipped(at: Bench) -> Result:
    return streamed_with(at, "gzip")


@story
def streamed_in_small_pieces(at: Bench) -> Result:
    return streamed_with(at, "chunk=7; crlf; comments")


@story
def raw(at: Bench) -> Result:
    with at.client() as client:
        answer = at.sdk.calls(client).with_raw_response.create(**at.ask(ONCE_BUSY))
        return [answer.status_code, answer.headers["x-request-id"], answer.retries_taken, told(answer.parse())]


@story
def raw_streamed(at: Bench) -> Result:
    with at.client() as client:
        answer = at.sdk.calls(client).with_raw_response.create(**at.ask(stream=True))
        return [answer.status_code, answer.headers["content-type"], read(answer.parse())]


@story
def streaming_response(at: Bench) -> Result:
    with at.client() as client, at.sdk.calls(client).with_streaming_response.create(**at.ask()) as answer:
        return b"".join(answer.iter_bytes()).decode()


@story
def streaming_response_streamed(at: Bench) -> Result:
    asked = at.ask("no-null", stream=True)
    with at.client() as client, at.sdk.calls(client).with_streaming_response.create(**asked) as answer:
        return b"".join(answer.iter_bytes()).decode()


@story
def streaming_response_unread(at: Bench) -> Result:
    with at.client() as client, at.sdk.calls(client).with_streaming_response.create(**at.ask()) as answer:
        return answer.status_code


@story
def helper(at: Bench) -> Result:
    with at.client() as client, at.sdk.calls(client).stream(**at.ask()) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_completion() if at.sdk.name == "openai" else stream.get_final_message()
        return [types, told(final)]


@story
def twice(at: Bench) -> Result:
    with at.client() as client:
        create = at.sdk.calls(client).create
        return [told(create(**at.ask())), told(create(**at.ask(text="And why again?")))]


@story
def retried(at: Bench) -> Result:
    return whole_with(at, ONCE_BUSY)


@story
def retried_stream(at: Bench) -> Result:
    return streamed_with(at, ONCE_BUSY)


@story
def retried_in_threads(at: Bench) -> Result:
    with at.client() as client, ThreadPoolExecutor(8) as threads:
        create = at.sdk.calls(client).create
        return list(threads.map(lambda n: told(create(**at.ask(ONCE_BUSY, f"Why {n}?"))), range(8)))


@story
def retried_in_vain(at: Bench) -> Result:
    return whole_with(at, "status=500; retry-after=0.01")


@story
def refused(at: Bench) -> Result:
    return whole_with(at, "status=400")


@story
def refused_stream(at: Bench) -> Result:
    return streamed_with(at, "status=400")


@story
def redirected(at: Bench) -> Result:
    return whole_with(at, "redirect=307")


@story
def error_in_stream(at: Bench) -> Result:
    return streamed_with(at, "error; events=6")


@story
def cut(at: Bench) -> Result:
    return whole_with(at, "cut=50%", max_retries=0)


@story
def cut_stream(at: Bench) -> Result:
    return streamed_with(at, "cut=event3")


@story
def dropped_once(at: Bench) -> Result:
    return whole_with(at, "drop; times=1", max_retries=1)


@story
def timed_out(at: Bench) -> Result:
    return whole_with(at, "wait=20", max_retries=0, timeout=0.5)


@story
def unreachable(at: Bench) -> Result:
    return whole_with(at, "", max_retries=0, host="http://127.0.0.1:1")


@story
def left_early(at: Bench) -> Result:
    asked = at.ask("stall=event2", stream=True)
    with at.client() as client, at.sdk.calls(client).create(**asked) as stream:
        for event in stream:
            return told(event)
    return "nothing came"


@story
def left_open(at: Bench) -> Result:
    with at.client() as client:
        stream = at.sdk.calls(client).create(**at.ask("stall=event2", stream=True))
        first = told(next(iter(stream)))
        del stream
        gc.collect()
        return first


@story
def left_unread(at: Bench) -> Result:
    with at.client() as client:
        at.sdk.calls(client).create(**at.ask("stall=event2", stream=True))
        gc.collect()
        return "nothing was read"


@story
def other_options(at: Bench) -> Result:
    with at.client() as client:
        once = client.with_options(max_retries=0, timeout=5)
        return told(at.sdk.calls(once).create(**at.ask("status=429")))


@story
def attributed(at: Bench) -> Result:
    with at.client() as client, at.attribute(project="another", user="ann", tags={"team": "blue"}):
        return told(at.sdk.calls(client).create(**at.ask()))


@story
def through_a_proxy(at: Bench) -> Result:
    return whole_with(at, "", host=BEHIND_PROXY, http_client=http_library().Client(proxy=at.url))


@story
def through_a_mount(at: Bench) -> Result:
    http = http_library()
    mounts = {"all://*.invalid": None, BEHIND_PROXY: http.HTTPTransport(proxy=at.url)}
    return whole_with(at, "", host=BEHIND_PROXY, http_client=at.sdk.module.DefaultHttpxClient(mounts=mounts))


@story
def through_a_proxy_of_the_environment(at: Bench) -> Result:
    os.environ["HTTP_PROXY"] = at.url
    try:
        client = at.client(BEHIND_PROXY)
    finally:
        del os.environ["HTTP_PROXY"]
    with client:
        return told(at.sdk.calls(client).create(**at.ask()))


@story
def openai_given_an_httpx_client(at: Bench) -> Result:
    return streamed_by(at.client(http_client=httpx.Client()), at, "")


@story
def openai_asked_for_usage(at: Bench) -> Result:
    return streamed_with(at, "", stream_options={"include_usage": True})


@story
def openai_error_with_usage_in_stream(at: Bench) -> Result:
    return streamed_with(at, "error=usage; events=6")


@story
def openai_recorded(at: Bench) -> Result:
    return whole_with(at, "recorded")


SOUND = ("a.wav", b"RIFF" + bytes(70_000), "audio/wav")


@story
def openai_responded(at: Bench) -> Result:
    with at.client() as client:
        return told(client.responses.create(model=at.model, input="Why?"))


@story
def openai_responded_streamed(at: Bench) -> Result:
    with at.client() as client, client.responses.create(model=at.model, input="Why?", stream=True) as stream:
        return read(stream)


@story
def openai_responded_in_background(at: Bench) -> Result:
    with at.client() as client:
        made = client.responses.create(model=at.model, input="Why?", background=True)
        return [told(made), *(told(client.responses.retrieve(made.id)) for _ in range(3))]


@story
def openai_responded_in_background_streamed(at: Bench) -> Result:
    cut: dict[str, Any] = {"background": True, "extra_headers": {"x-simulate": "no-end"}}
    with at.client() as client:
        with client.responses.create(model=at.model, input="Why?", stream=True, **cut) as stream:
            events = list(stream)
        with client.responses.retrieve(events[0].response.id, stream=True, starting_after=len(events) - 1) as rest:
            return [*map(told, events), read(rest)]


@story
def openai_transcribed(at: Bench) -> Result:
    with at.client() as client:
        return told(client.audio.transcriptions.create(model=at.model, file=SOUND))


@story
def openai_drew(at: Bench) -> Result:
    with at.client() as client:
        return told(client.images.generate(model=at.model, prompt="A cat"))


@story
def openai_redrew(at: Bench) -> Result:
    with at.client() as client:
        return told(client.images.edit(model=at.model, prompt="A cat", image=("a.png", bytes(900), "image/png")))


@story
def openai_embedded(at: Bench) -> Result:
    with at.client() as client:
        return told(client.embeddings.create(model=at.model, input="Why?", encoding_format="float"))


@story
def openai_models(at: Bench) -> Result:
    with at.client() as client:
        return [told(model) for model in client.models.list()]


@story
def anthropic_counted(at: Bench) -> Result:
    with at.client() as client:
        return told(client.messages.count_tokens(model=at.model, messages=[{"role": "user", "content": "Why?"}]))
