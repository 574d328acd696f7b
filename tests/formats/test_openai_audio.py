"""Audio: what its rows in the catalogue don't say."""

import pytest

from accounting.formats import Ask, loads
from accounting.formats.openai_audio import Reader, answer, ask
from accounting.formats.wire import Answer
from accounting.sse import Event
from accounting.usage import UsageSource


def test_speech_asks_in_json_and_a_transcript_in_a_form() -> None:
    assert ask({"model": "tts-1", "stream_format": "sse"}, "/v1/audio/speech") == Ask("tts-1", True)
    assert ask({"model": "whisper-1", "stream": "true"}, "/v1/audio/transcriptions") == Ask("whisper-1", True)
    assert ask({"stream": ["odd"]}, "/v1/audio/transcriptions") == Ask()


@pytest.mark.parametrize("body", [None, "1\n00:00:00,000 --> 00:00:01,000\nHi", {"text": "Hi"}])
def test_sound_and_plain_text_say_nothing_of_usage(body: object) -> None:
    assert answer(body) == Answer()


@pytest.mark.parametrize(
    ("seconds", "taken", "anomalies"),
    [
        ("8.0", 8, ()),
        ("8.000001", 9, ()),
        ("0", 0, ()),
        ("-1.5", None, ("seconds_negative", "usage_unreadable")),
        ("1e13", None, ("seconds_too_large", "usage_unreadable")),
        ("NaN", None, ("seconds_unreadable", "usage_unreadable")),
    ],
)
def test_seconds_are_rounded_up_and_what_is_none_is_named(
    seconds: str, taken: int | None, anomalies: tuple[str, ...]
) -> None:
    found = answer(loads(f'{{"usage": {{"type": "duration", "seconds": {seconds}}}}}')).usage
    assert (found.audio_seconds, found.anomalies) == (taken, anomalies)


def test_a_length_is_kept_as_the_block_it_was_read_from() -> None:
    assert answer({"duration": 3, "text": "Hi"}).usage.block == '{"duration":3}'


def test_a_stream_that_is_cut_has_no_usage() -> None:
    reader = Reader()
    reader.feed(Event(b"", "", b'{"type": "transcript.text.delta", "delta": "Hi"}'))
    assert (reader.token_seen, reader.terminal) == (True, False)
    assert reader.answer().usage.source == UsageSource.MISSING
