"""A destination in memory, as real as the port asks: it keeps what it took, and can fail in every way a store can."""

import time
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

from accounting.ports import Batch, Receipt, SourceReport, Verdict
from accounting.usage import Call, Outcome, Usage, id_time, new_id

NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)


class Warehouse:
    """Takes batches, by journal and number; `refused` and the like are turned while it runs."""

    def __init__(self) -> None:
        self.away = False
        self.loses_replies = False
        self.seconds = 0.0
        self.refused: set[UUID] = set()
        self.calls: dict[tuple[str, int], Call] = {}
        self.reports: list[SourceReport] = []
        self.tries = 0
        self.closed = False
        self.learned: bytes | None = None
        self.asked_for_estimates = 0

    def deliver(self, batch: Batch) -> Receipt:
        self.tries += 1
        time.sleep(self.seconds)
        if self.away:
            raise ConnectionError("the store is away")
        if batch.source.journal in self.refused:
            raise ValueError("nothing from this journal")
        self.reports.append(batch.source)
        verdicts = {entry.number: self._take(str(batch.source.journal), entry.number, entry.payload) for entry in
                    batch.entries}  # fmt: skip
        if self.loses_replies:
            raise ConnectionError("the reply was lost after the commit")
        return Receipt(verdicts, *self._held(str(batch.source.journal)))

    def estimates(self) -> bytes | None:
        self.asked_for_estimates += 1
        if self.away:
            raise ConnectionError("the store is away")
        return self.learned

    def close(self) -> None:
        self.closed = True

    def lose(self, *numbers: int) -> None:
        """Know nothing any more of these numbers, of whichever journal: what a restored backup does."""
        self.calls = {key: call for key, call in self.calls.items() if key[1] not in numbers}

    def _take(self, journal: str, number: int, payload: bytes) -> Verdict:
        call = Call.decode(payload)
        if (journal, number) in self.calls:
            return Verdict.DUPLICATE if self.calls[journal, number] == call else Verdict.CONFLICT
        self.calls[journal, number] = call
        return Verdict.INSERTED

    def _held(self, journal: str) -> tuple[int, int]:
        """The number up to which all are here, and how many are beyond it."""
        numbers = {number for of, number in self.calls if of == journal}
        contiguous = next(number for number in count() if number + 1 not in numbers)
        return contiguous, len(numbers) - contiguous

    @property
    def numbers(self) -> list[int]:
        """The numbers taken, of all journals, in order."""
        return sorted(number for _, number in self.calls)

    @property
    def outcomes(self) -> list[Outcome | None]:
        return [self.calls[key].outcome for key in sorted(self.calls)]


def started(at: datetime | None = None, model: str = "z-ai/glm-5") -> Call:
    """A call on its way."""
    id_ = new_id()
    return Call(id=id_, started_at=at or id_time(id_), provider="wcode", endpoint="chat/completions",
                request_model=model)  # fmt: skip


def ended(call: Call, outcome: Outcome = Outcome.FINISHED, usage: Usage | None = None) -> Call:
    """The same call with its outcome."""
    from dataclasses import replace

    return replace(call, outcome=outcome, http_status=200, usage=usage or Usage())


def until(true: object, seconds: float = 5.0) -> bool:
    """Wait for a condition (a function without arguments) that another thread brings about."""
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
