"""One entry that can't be stored holds up no other, whatever is wrong with it."""

import json
import random
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from accounting.delivery import Faults, hand_over
from accounting.ingest import StoreDestination, ingest
from accounting.journals import open_journal
from accounting.ports import Batch, Entry, Verdict
from accounting.store.tables import calls, rejected
from accounting.usage import MAX_COUNT
from accounting.verify import verify
from tests.books import NOON, Books, made

ENTRIES = 500
LONG = "".join(random.Random(3).choices("名前🜚абвгд" + "".join(map(chr, range(0x4E00, 0x9000))), k=1000))
"""Nothing that a database could make shorter."""


def written(**changes: Any) -> bytes:
    """A call's payload with other fields than a program of ours writes; `usage__…` are those of its usage."""
    record = json.loads(made(number=ENTRIES).encode())
    for name, value in changes.items():
        *inside, field = name.split("__")
        (record["usage"] if inside else record)[field] = value
    return json.dumps(record).encode()


POISON = {
    "no JSON": b"\x00\xff{",
    "no object": b"[1]",
    "bytes that are no text": written(user="u").replace(b'"u"', b'"\xff\xfe"'),
    "nested without end": b'{"id":' * 50_000,
    "a number beyond all": written(max_tokens=10**400),
    "a count beyond 64 bits": written(bytes_in=2**70),
    "an attempt beyond 32 bits": written(attempt=2**40),
    "a status beyond 32 bits": written(http_status=2**31),
    "a negative count": written(usage__input_tokens=-1),
    "more tokens than there are": written(usage__output_tokens=MAX_COUNT + 1),
    "NaN": written(bytes_in=float("nan")),
    "a sum beyond all digits": written(usage__provider_cost=["1e999999", "USD"]),
    "a sum of too many decimals": written(usage__provider_cost=["1e-999999", "USD"]),
    "no sum": written(usage__provider_cost=["NaN", "USD"]),
    "a NUL in a text": written(user="a\0b"),
    "a NUL in a tag": written(tags={"a": "b\0"}),
    "a NUL in an anomaly": written(usage__anomalies=["a\0"]),
    "half a character": written(project="\ud83d"),
    "half a character in an anomaly": written(usage__anomalies=["\udc00"]),
    "a text in place of tags": written(tags="a"),
    "a time beyond the calendar": written(ended_at="9999-12-31T23:59:59-14:00"),
    "a time before the calendar": written(first_token_at="0001-01-01T00:00:00+14:00"),
    "no id": written(id="1"),
    "an id without a time": written(id=str(uuid4())),
    "a call inside itself": written(parent_id=json.loads(written())["id"]),
    "an id from the future": made(NOON + timedelta(days=2)).encode(),
    "a field of another version": written(surprise=1),
    "a project too long to find": written(project=LONG),
    "a model too long to find": written(response_model=LONG),
    "names too long to find what a provider stated": written(provider=" " * 900, usage__provider_cost=["1", "USD"]),
    "a user too long to find": written(user=LONG),
    "a tag too long to find": written(tags={LONG[:500]: LONG[500:]}),
    "a key in place of its fingerprint": written(key_fingerprint="sk-1234567890abcdef"),
    "half a fingerprint": written(key_fingerprint="a1" * 16),
    "a fingerprint of other letters": written(key_fingerprint="A1" * 32),
}


@pytest.mark.parametrize("what", POISON)
def test_of_500_entries_with_one_that_is_poison_499_are_stored(books: Books, what: str) -> None:
    payloads = [made(number=number).encode() for number in range(ENTRIES - 1)]
    place = random.Random(what).randrange(ENTRIES)
    payloads.insert(place, POISON[what])
    entries = tuple(Entry(number, payload) for number, payload in enumerate(payloads, 1))
    report = replace(books.journal.batch().source, highest=ENTRIES)
    verdicts = ingest(books.engine, Batch(report, entries), NOON)
    assert [number for number, verdict in verdicts.items() if verdict is not Verdict.INSERTED] == [place + 1]
    (row,) = books.rows(rejected)
    assert (row["number"], row["payload"]) == (place + 1, POISON[what])
    assert row["reason"]
    assert len(books.rows(calls)) == ENTRIES - 1
    assert books.roll().calls == ENTRIES - 1


UNREADABLE = (
    b"\xff\xfe",
    written(user="u").replace(b'"u"', b'"\xed\xa0\xbd"'),
    written(user="u").replace(b'"u"', b'"a\0b"'),
    b"\0",
    b"",
)
"""Bytes that no JSON and no text can carry: no UTF-8, half a character, a NUL."""


def test_bytes_in_a_journal_that_are_no_text_hold_up_no_call(books: Books, tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as journal:
        for number, payload in enumerate(UNREADABLE):
            journal.add(made(number=number))
            bad = journal.add(made(number=number))
            journal._connection.execute("UPDATE calls SET payload = ? WHERE number = ?", (payload, bad))
        journal.add(made(number=len(UNREADABLE)))
        destination = StoreDestination(books.url)
        assert hand_over(journal, destination, Faults()) == 2 * len(UNREADABLE) + 1
        destination.close()
        assert journal.ready == 0
    assert [row["payload"] for row in books.rows(rejected)] == list(UNREADABLE)
    assert len(books.rows(calls)) == len(UNREADABLE) + 1
    books.roll()
    assert verify(books.engine).differences == ()


def test_poison_of_many_kinds_in_one_batch_is_all_put_aside(books: Books) -> None:
    good = [made(number=number).encode() for number in range(len(POISON))]
    payloads = [payload for pair in zip(good, POISON.values(), strict=True) for payload in pair]
    books.refuse(calls, "new.number in (7, 31)")
    entries = tuple(Entry(number, payload) for number, payload in enumerate(payloads, 1))
    report = replace(books.journal.batch().source, highest=len(payloads))
    verdicts = list(ingest(books.engine, Batch(report, entries), NOON).values())
    assert verdicts.count(Verdict.REJECTED) == len(POISON) + 2
    assert verdicts.count(Verdict.INSERTED) == len(POISON) - 2
    books.roll()
    assert verify(books.engine).differences == ()
