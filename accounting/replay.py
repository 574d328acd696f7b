"""Calls that a store no longer holds go out once more.

A store that was restored from a backup knows less than its journals delivered. With each receipt it says how much
it holds; where that is less than was delivered, the rows that are still kept go out again. What is no longer kept
stays a gap, which the store shows and the journal remembers, so that it isn't tried for ever.
"""

import json
import time
from dataclasses import dataclass

from accounting.journal import Journal
from accounting.ports import Receipt

_FACT = "replay"


@dataclass(frozen=True, slots=True)
class _Pass:
    """The last time that rows up to a number went out again, as so many were lost; `upto` 0: it is over.

    Of those lost at most `unkept` are kept here no more. Of a pass that is over `lost` are those that it could not
    bring back. None: a person wanted it, whatever was lost.
    """

    lost: int | None = 0
    upto: int = 0
    unkept: int = 0


def mend(journal: Journal, receipt: Receipt) -> None:
    """Have kept rows delivered again, if the store turns out to hold less than this journal delivered."""
    last = _last_pass(journal)
    if not journal.is_delivered(last.upto):
        return
    lost = max(journal.lost(receipt.contiguous, receipt.ahead), 0)
    if _is_worth_a_pass(last, lost):
        journal.recount()  # by counts that are off nothing is sent again
        if journal.lost(receipt.contiguous, receipt.ahead) == lost:
            _begin(journal, receipt.contiguous, lost)
    elif last.upto or (lost != last.lost and not journal.ready):
        # With a backlog the figure may be too low: the store may hold calls of which no receipt has come back.
        _remember(journal, _Pass(lost))


def again(journal: Journal) -> None:
    """Have every row that is kept delivered again."""
    _begin(journal, 0, None)


def is_under_way(journal: Journal) -> bool:
    """Whether rows are going out again, and it is not known yet what that has mended."""
    return _last_pass(journal).upto > 0


def _is_worth_a_pass(last: _Pass, lost: int) -> bool:
    """Whether calls were lost that the last pass has not tried to bring back.

    One that has just ended and brought nothing tells that the rest is kept nowhere. If it brought some, the store may
    have lost others while it went on.
    """
    if last.lost is None:
        return False
    if not last.upto:
        return lost > last.lost
    return lost > last.unkept or 0 < lost != last.lost


def _begin(journal: Journal, contiguous: int, lost: int | None) -> None:
    highest, kept, upto = journal.highest, 0, contiguous
    while recalled := journal.recall(upto):
        kept, upto = kept + len(recalled), recalled[-1]
        time.sleep(0)  # the application's calls wait for the journal's lock, and get it now
    if kept:
        journal.remember("closed", "no")
    # After the rows: a process that dies in between leaves no pass that seems to have brought nothing.
    _remember(journal, _Pass(lost, upto if kept else 0, highest - contiguous - kept))


def _last_pass(journal: Journal) -> _Pass:
    return _Pass(*json.loads(journal.fact(_FACT) or "[]"))


def _remember(journal: Journal, last: _Pass) -> None:
    journal.remember(_FACT, json.dumps([last.lost, last.upto, last.unkept]))
