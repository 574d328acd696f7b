"""xAI's chat completions. Its Responses API is like everybody's.

Source: docs.x.ai, chat completions; the rule was held against the cost in ticks that its answers state. Reasoning
stands beside the completion, and the total says so; here also where there is no total, or one
too short for any reading.
"""

from functools import partial

from accounting.formats import chat_usage, openai_chat
from accounting.formats.openai_chat import Reader, ask, asking_for_usage
from accounting.formats.wire import Answer

__all__ = ["answer", "ask", "asking_for_usage", "name", "providers", "stream", "suffixes", "usage"]

name = "xai_chat"
suffixes: tuple[str, ...] = ("chat/completions",)
providers: tuple[str, ...] = ("xai",)

usage = partial(chat_usage.usage, reasoning_beside=True)


def answer(body: object) -> Answer:
    return openai_chat.answer(body, usage)


def stream() -> Reader:
    return Reader(usage)
