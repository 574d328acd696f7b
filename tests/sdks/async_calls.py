"""The stories of `sync_calls` with an async client, and of tasks that are cancelled."""

import asyncio
import gc
import inspect
import os
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import httpx

from .bench import BEHIND_PROXY, ONCE_BUSY, Bench, Result, failure, http_library, told
from .sync_calls import SOUND

Story = Callable[[Bench], Awaitable[Result]]
STORIES: dict[str, Story] = {}


def story(made: Story) -> Story:
    STORIES[made.__name__] = made
    return made


async def read(stream: AsyncIterable[Any]) -> Result:
    """All that comes out of a stream, the error that ends it too."""
    got = []
    try:
        async for event in stream:
            got.append(told(event))
    except Exception as error:
        return {"got": got, **failure(error)}
    return got


async def parsed(answer: Any) -> Any:
    """The content of a raw answer; whether that has to be awaited is a matter of the SDK's version."""
    content = answer.parse()
    return await content if inspect.isawaitable(content) else content


async def whole_with(at: Bench, script: str, **options: Any) -> Result:
    async with at.async_client(**options) as client:
        return told(await at.sdk.calls(client).create(**at.ask(script)))


async def streamed_with(at: Bench, script: str, **more: Any) -> Result:
    return await streamed_by(at.async_client(), at, script, **more)


async def streamed_by(client: Any, at: Bench, script: str, **more: Any) -> Result:
    async with client, await at.sdk.calls(client).create(**at.ask(script, stream=True, **more)) as stream:
        return await read(stream)


@story
async def whole(at: Bench) -> Result:
    return await whole_with(at, "")


@story
async def whole_gzipped(at: Bench) -> Result:
    return await whole_with(at, "gzip")


@story
async def streamed(at: Bench) -> Result:
    return await streamed_with(at, "")


@story
async def streamed_gzipped(at: Bench) -> Result:
    return await streamed_with(at, "gzip")


@story
async def streamed_in_small_pieces(at: Bench) -> Result:
    return await streamed_with(at, "chunk=7; crlf; comments")


@story
async def raw(at: Bench) -> Result:
    async with at.async_client() as client:
        answer = await at.sdk.calls(client).with_raw_response.create(**at.ask(ONCE_BUSY))
        return [answer.status_code, answer.headers["x-request-id"], answer.retries_taken, told(await parsed(answer))]


@story
async def raw_streamed(at: Bench) -> Result:
    async with at.async_client() as client:
        answer = await at.sdk.calls(client).with_raw_response.create(**at.ask(stream=True))
        return [answer.status_code, answer.headers["content-type"], await read(await parsed(answer))]


@story
async def streaming_response(at: Bench) -> Result:
    async with at.async_client() as client, at.sdk.calls(client).with_streaming_response.create(**at.ask()) as answer:
        return b"".join([piece async for piece in answer.iter_bytes()]).decode()


@story
async def streaming_response_streamed(at: Bench) -> Result:
    asked = at.ask("no-null", stream=True)
    async with at.async_client() as client, at.sdk.calls(client).with_streaming_response.create(**asked) as answer:
        return b"".join([piece async for piece in answer.iter_bytes()]).decode()


@story
async def streaming_response_unread(at: Bench) -> Result:
    async with at.async_client() as client, at.sdk.calls(client).with_streaming_response.create(**at.ask()) as answer:
        return int(answer.status_code)


@story
async def helper(at: Bench) -> Result:
    async with at.async_client() as client, at.sdk.calls(client).stream(**at.ask()) as stream:
        types = [event.type async for event in stream]
        last = stream.get_final_completion() if at.sdk.name == "openai" else stream.get_final_message()
        return [types, told(await last)]


@story
async def twice(at: Bench) -> Result:
    async with at.async_client() as client:
        create = at.sdk.calls(client).create
        return [told(await create(**at.ask())), told(await create(**at.ask(text="And why again?")))]


@story
async def retried(at: Bench) -> Result:
    return await whole_with(at, ONCE_BUSY)


@story
async def retried_stream(at: Bench) -> Result:
    return await streamed_with(at, ONCE_BUSY)


@story
async def retried_side_by_side(at: Bench) -> Result:
    async with at.async_client() as client:
        create = at.sdk.calls(client).create
        answers = await asyncio.gather(*(create(**at.ask(ONCE_BUSY, f"Why {n}?")) for n in range(8)))
        return [told(answer) for answer in answers]


@story
async def retried_in_vain(at: Bench) -> Result:
    return await whole_with(at, "status=500; retry-after=0.01")


@story
async def refused(at: Bench) -> Result:
    return await whole_with(at, "status=400")


@story
async def refused_stream(at: Bench) -> Result:
    return await streamed_with(at, "status=400")


@story
async def redirected(at: Bench) -> Result:
    return await whole_with(at, "redirect=307")


@story
async def error_in_stream(at: Bench) -> Result:
    return await streamed_with(at, "error; events=6")


@story
async def cut(at: Bench) -> Result:
    return await whole_with(at, "cut=50%", max_retries=0)


@story
async def cut_stream(at: Bench) -> Result:
    return await streamed_with(at, "cut=event3")


@story
async def dropped_once(at: Bench) -> Result:
    return await whole_with(at, "drop; times=1", max_retries=1)


@story
async def timed_out(at: Bench) -> Result:
    return await whole_with(at, "wait=20", max_retries=0, timeout=0.5)


@story
async def unreachable(at: Bench) -> Result:
    return await whole_with(at, "", max_retries=0, host="http://127.0.0.1:1")


@story
async def left_early(at: Bench) -> Result:
    asked = at.ask("stall=event2", stream=True)
    async with at.async_client() as client, await at.sdk.calls(client).create(**asked) as stream:
        async for event in stream:
            return told(event)
    return "nothing came"


@story
async def left_unread(at: Bench) -> Result:
    async with at.async_client() as client:
        await at.sdk.calls(client).create(**at.ask("stall=event2", stream=True))
        gc.collect()
        return "nothing was read"


@story
async def cancelled_while_waiting_for_more(at: Bench) -> Result:
    return await _first_before_cancel(at, asyncio.sleep(0))


@story
async def cancelled_while_at_other_work(at: Bench) -> Result:
    return await _first_before_cancel(at, asyncio.sleep(60))


async def _first_before_cancel(at: Bench, work: Awaitable[None]) -> Result:
    """What a task read first, and went to work on, that was then cancelled without closing its stream."""
    got: asyncio.Queue[Result] = asyncio.Queue()

    async def reader(client: Any) -> None:
        async for event in await at.sdk.calls(client).create(**at.ask("stall=event1", stream=True)):
            got.put_nowait(told(event))
            await work

    async with at.async_client() as client:
        task = asyncio.create_task(reader(client))
        first = await got.get()
        await asyncio.sleep(0.05)  # until it waits
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task
        gc.collect()
    return first


@story
async def cancelled_before_the_answer(at: Bench) -> Result:
    async with at.async_client() as client:
        task = asyncio.create_task(at.sdk.calls(client).create(**at.ask("wait=20")))
        await asyncio.to_thread(at.wait_until_asked)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return "cancelled" if task.cancelled() else "not cancelled"


@story
async def other_options(at: Bench) -> Result:
    async with at.async_client() as client:
        once = client.with_options(max_retries=0, timeout=5)
        return told(await at.sdk.calls(once).create(**at.ask("status=429")))


@story
async def attributed(at: Bench) -> Result:
    async with at.async_client() as client:
        with at.attribute(project="another", user="ann", tags={"team": "blue"}):
            return told(await at.sdk.calls(client).create(**at.ask()))


@story
async def through_a_proxy(at: Bench) -> Result:
    return await whole_with(at, "", host=BEHIND_PROXY, http_client=http_library().AsyncClient(proxy=at.url))


@story
async def through_a_mount(at: Bench) -> Result:
    http = http_library()
    mounts = {"all://*.invalid": None, BEHIND_PROXY: http.AsyncHTTPTransport(proxy=at.url)}
    given = at.sdk.module.DefaultAsyncHttpxClient(mounts=mounts)
    return await whole_with(at, "", host=BEHIND_PROXY, http_client=given)


@story
async def through_a_proxy_of_the_environment(at: Bench) -> Result:
    os.environ["HTTP_PROXY"] = at.url
    try:
        client = at.async_client(BEHIND_PROXY)
    finally:
        del os.environ["HTTP_PROXY"]
    async with client:
        return told(await at.sdk.calls(client).create(**at.ask()))


@story
async def openai_given_an_httpx_client(at: Bench) -> Result:
    return await streamed_by(at.async_client(http_client=httpx.AsyncClient()), at, "")


@story
async def openai_asked_for_usage(at: Bench) -> Result:
    return await streamed_with(at, "", stream_options={"include_usage": True})


@story
async def openai_error_with_usage_in_stream(at: Bench) -> Result:
    return await streamed_with(at, "error=usage; events=6")


@story
async def openai_recorded(at: Bench) -> Result:
    return await whole_with(at, "recorded")


@story
async def openai_responded(at: Bench) -> Result:
    async with at.async_client() as client:
        return told(await client.responses.create(model=at.model, input="Why?"))


@story
async def openai_responded_streamed(at: Bench) -> Result:
    async with (
        at.async_client() as client,
        await client.responses.create(model=at.model, input="Why?", stream=True) as stream,
    ):
        return await read(stream)


@story
async def openai_responded_in_background(at: Bench) -> Result:
    async with at.async_client() as client:
        made = await client.responses.create(model=at.model, input="Why?", background=True)
        return [told(made), *[told(await client.responses.retrieve(made.id)) for _ in range(3)]]


@story
async def openai_responded_in_background_streamed(at: Bench) -> Result:
    cut: dict[str, Any] = {"background": True, "extra_headers": {"x-simulate": "no-end"}}
    async with at.async_client() as client:
        async with await client.responses.create(model=at.model, input="Why?", stream=True, **cut) as stream:
            events = [event async for event in stream]
        again = {"stream": True, "starting_after": len(events) - 1}
        async with await client.responses.retrieve(events[0].response.id, **again) as rest:
            return [*map(told, events), await read(rest)]


@story
async def openai_transcribed(at: Bench) -> Result:
    async with at.async_client() as client:
        return told(await client.audio.transcriptions.create(model=at.model, file=SOUND))


@story
async def openai_drew(at: Bench) -> Result:
    async with at.async_client() as client:
        return told(await client.images.generate(model=at.model, prompt="A cat"))


@story
async def openai_redrew(at: Bench) -> Result:
    async with at.async_client() as client:
        return told(await client.images.edit(model=at.model, prompt="A cat", image=("a.png", bytes(900), "image/png")))


@story
async def openai_embedded(at: Bench) -> Result:
    async with at.async_client() as client:
        return told(await client.embeddings.create(model=at.model, input="Why?", encoding_format="float"))


@story
async def openai_models(at: Bench) -> Result:
    async with at.async_client() as client:
        return [told(model) async for model in client.models.list()]


@story
async def anthropic_counted(at: Bench) -> Result:
    messages = [{"role": "user", "content": "Why?"}]
    async with at.async_client() as client:
        return told(await client.messages.count_tokens(model=at.model, messages=messages))
