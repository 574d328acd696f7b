"""What holds of every answer, whatever its bytes."""

from datetime import UTC, datetime

from accounting.anomalies import meaning
from accounting.entries import Read, look
from accounting.extraction import read
from accounting.formats import Answer, every
from accounting.ports import Entry
from accounting.usage import COUNTED, MAX_BLOCK, MAX_COUNT, Call, Outcome, Usage, UsageSource, id_time, new_id

PATHS = ["", *(f"/{suffix.replace('*', 'x')}" for each in every() for suffix in each.suffixes)]
PROVIDERS = ["", *dict.fromkeys(provider for each in every() for provider in each.providers)]


def holds_in_every_format(data: bytes) -> None:
    """Read as the answer of every endpoint of everybody, and by its shape."""
    for path in PATHS:
        holds(read(data, path=path))
    for provider in PROVIDERS:
        holds(read(data, provider=provider, path="/v1/chat/completions"))


def holds(answer: Answer) -> None:
    holds_of(answer.usage)
    assert (answer.usage.source is UsageSource.MISSING) == (answer.usage.requests is None)
    for sub in answer.sub_calls:
        holds_of(sub.usage)
        assert sub.usage.requests is None  # the answer's own is the only one
    assert _kept(answer).usage == answer.usage


def holds_of(usage: Usage) -> None:
    for name in COUNTED:
        count = getattr(usage, name)
        assert count is None or (type(count) is int and 0 <= count <= MAX_COUNT), (name, count)
    _is_within(usage, "input_tokens", "cache_read_tokens", "cache_write_tokens", "audio_input_tokens",
               "image_input_tokens")  # fmt: skip
    _is_within(usage, "cache_write_tokens", "cache_write_1h_tokens")
    _is_within(usage, "output_tokens", "reasoning_tokens", "audio_output_tokens", "image_output_tokens")
    assert all(meaning(anomaly) for anomaly in usage.anomalies), usage.anomalies
    assert len(set(usage.anomalies)) == len(usage.anomalies)
    assert usage.block is None or len(usage.block) <= MAX_BLOCK


def _is_within(usage: Usage, whole: str, *parts: str) -> None:
    known = [count for part in parts if (count := getattr(usage, part)) is not None]
    limit = getattr(usage, whole)
    assert sum(known) <= limit if limit is not None else known == [], (whole, limit, known)


def _kept(answer: Answer) -> Call:
    """The call with the answer, as it comes out of a journal, and as the books hold it."""
    id_ = new_id()
    call = Call(
        id=id_,
        started_at=id_time(id_),
        provider="p",
        endpoint="e",
        outcome=Outcome.FINISHED,
        response_model=answer.model,
        response_id=answer.id,
        finish_reason=answer.finish_reason,
        service_tier=answer.service_tier,
        usage=answer.usage,
    )
    found = look(Entry(1, call.encode()), datetime.now(UTC))
    assert isinstance(found, Read), found.reason
    return found.call
