"""OpenAI's transcriptions, translations and speech, and those of others who follow it.

Source: OpenAI API reference, audio; Mistral's, transcription. Usage is in tokens or in seconds, by the model. Whole
speech is answered as sound alone, so its usage stays missing; older transcripts say only how long they are.
"""

import re
from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats import chat_usage
from accounting.formats.chat_usage import begun, output_by_total
from accounting.formats.costs import stated_cost
from accounting.formats.openai_chat import deployment
from accounting.formats.wire import Answer, Ask, at, loads, stated_usage, text
from accounting.sse import Event
from accounting.usage import Usage

name = "openai_audio"
suffixes: tuple[str, ...] = ("audio/transcriptions", "audio/translations", "audio/speech")
providers: tuple[str, ...] = ()


def ask(body: Mapping[str, Any], path: str) -> Ask:
    """What is heard comes as a form, whose fields are texts; what is to be spoken, as JSON."""
    streamed = body.get("stream") in (True, "true") or body.get("stream_format") == "sse"
    return Ask(model=text(body.get("model")) or deployment(path), stream=streamed)


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage, or has none to state."""
    return None


def answer(body: object) -> Answer:
    return Answer(
        model=text(at(body, "model")),
        id=text(at(body, "id")),
        usage=_stated(body, unread=False),
        failed=bool(at(body, "error")),
    )


def stream() -> "Reader":
    return Reader()


class Reader:
    """Reads a streamed answer; its last event states the usage."""

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._body: object = None
        self._failed = False
        self._unread = False

    def feed(self, event: Event) -> None:
        if event.data.startswith(b"[DONE]") or event.tail:
            self.terminal = self.terminal or not event.tail
            return
        self.token_seen = self.token_seen or bool(event.data) or event.oversized
        if _DONE.search(event.name) or _DONE_SIGN.search(event.data):
            self.terminal = True
            self._body = loads(event.data) or self._body
        self._failed = self._failed or event.name == "error" or _ERROR.match(event.data) is not None
        self._unread = self._unread or event.oversized

    def answer(self) -> Answer:
        return Answer(model=text(at(self._body, "model")), usage=_stated(self._body, self._unread), failed=self._failed)


_DONE = re.compile(r"\A(?:transcript\.text|transcription|speech\.audio)\.done\Z")
_DONE_SIGN = re.compile(rb'"type"\s*:\s*"(?:transcript\.text|transcription|speech\.audio)\.done"')
_ERROR = re.compile(rb'\s*\{\s*"(?:error"\s*:\s*[{"]|type"\s*:\s*"error")')


def _stated(body: object, unread: bool) -> Usage:
    """The usage block's, or of an older transcript how long it is, which is flagged as no usage that was stated."""
    block = at(body, "usage")
    if at(block, "prompt_tokens") is not None or at(block, "prompt_audio_seconds") is not None:  # Mistral
        return chat_usage.usage(block, unread=unread)
    counts, length = begun(unread), at(body, "duration")
    if block is not None:
        return _of_block(block, counts)
    if length is None:
        return Usage(anomalies=tuple(counts.anomalies))
    counts.flag("duration_taken_for_usage")
    return stated_usage({"duration": length}, counts, audio_seconds=_seconds(body, "duration", counts))


def _of_block(block: object, counts: Counts) -> Usage:
    tokens_in, stated = counts.read(block, "input_tokens"), counts.read(block, "output_tokens")
    return stated_usage(
        block,
        counts,
        input_tokens=tokens_in,
        audio_input=counts.read(block, "input_token_details", "audio_tokens"),
        output_tokens=output_by_total(tokens_in, stated, None, counts.read(block, "total_tokens"), counts),
        audio_seconds=_seconds(block, "seconds", counts),
        cost=stated_cost(block, counts),
    )


def _seconds(block: object, name: str, counts: Counts) -> int | None:
    """Seconds, rounded up: a fraction is nothing odd here."""
    own = Counts()
    found = own.read(block, name)
    for anomaly in own.anomalies:
        if not anomaly.endswith("_fraction"):
            counts.flag(anomaly)
    return found
