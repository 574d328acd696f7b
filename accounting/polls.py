"""Answers that come later: what is learned of a call by polling its result.

A response that is made in the background, or whose stream was cut, states its usage where somebody asks for it again:
`GET …/responses/{id}`, as a stream too, or `POST …/responses/{id}/cancel`. Polling is no call. The first answer that is
final becomes the outcome of the call that began it: a second version of it, which replaces the first in the books.

Calls are remembered by this process only, so many of them at most. What another process polls leaves the call as it
ended here: interrupted, its usage missing.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

from accounting.formats import Answer, Format, polled
from accounting.outgoing import Outgoing, Sent, outgoing
from accounting.reception import Reception
from accounting.recorder import recorder
from accounting.subcalls import below
from accounting.usage import Call, Outcome, UsageSource

MOST = 4096
"""Calls that are remembered; beyond it those are forgotten that were polled, or began, longest ago."""

_Key = tuple[str, str]

_expected: OrderedDict[_Key, Call] = OrderedDict()
"""By provider and response id. Each step on it is one of the interpreter's own, so that no lock is needed: a call may
be left where none may be taken. And none takes a call out but to tell of it, or another thread's poll would miss it."""


def expect(call: Call) -> None:
    """Remember a call whose answer may still be polled; takes no lock."""
    if call.outcome is Outcome.INTERRUPTED and call.response_id is not None:
        _expected[call.provider, call.response_id] = call
        if len(_expected) > MOST:
            with contextlib.suppress(KeyError):  # other threads may do the same
                _expected.popitem(last=False)


def tap_on(sent: Sent, provider: str) -> "Poll | None":
    """A tap on a request that polls an answer which somebody waits for; None on any other."""
    if not _expected:
        return None
    poll = polled(sent.method, sent.path, provider)
    key = (provider, poll.id) if poll else ("", "")
    if poll is None or key not in _expected:
        return None
    with contextlib.suppress(KeyError):  # another thread has just told of it
        _expected.move_to_end(key)
    return Poll(poll.format, key, outgoing(sent, {}, None))


class Poll:
    """Reads the answer to one poll as it passes; a final one is written down once."""

    asked = False

    def __init__(self, format_: Format, key: _Key, outgoing: Outgoing | None) -> None:
        self.outgoing = outgoing
        self._key = key
        self._reception = Reception(format_, key[0])

    def headers(self, status: int, headers: Mapping[str, str], framed: bool = False) -> None:
        self._reception.headers(status, headers, framed)

    def read(self, held: bytes, chunk: bytes) -> tuple[bytes, bytes]:
        passed_on = self._reception.read(held, chunk)
        if self._reception.is_over:
            self._tell()
        return passed_on

    def end(self) -> None:
        self._reception.read_rest()
        self._tell()

    def refuses_asking(self, headers: Mapping[str, str], body: bytes) -> bool:  # noqa: ARG002 - nothing was asked
        return False

    def cut(self) -> None:
        """Nothing is learned: the next poll may tell."""

    def admission(self) -> None:
        """Nothing is bought: no budget is asked."""

    def broke(self, error: BaseException) -> None:
        """As after a cut."""

    def drop(self) -> None:
        """As after a cut."""

    def _tell(self) -> None:
        answer, is_whole = self._reception.answer()
        if not (is_whole and self._reception.is_good and _is_final(answer)):
            return
        call = _expected.pop(self._key, None)  # of several polls at once one gets it
        if call is not None:
            call = _amended(call, answer)
            recorder().amend(call, below(call, answer.sub_calls))


def _is_final(answer: Answer) -> bool:
    """A response that was cancelled may be final, and say nothing of what it used: then nothing is learned."""
    return not answer.pending and (answer.failed or answer.usage.source is not UsageSource.MISSING)


def _amended(call: Call, answer: Answer) -> Call:
    """The call with what its answer came to. Its times and bytes stay those of the attempt that began it."""
    return replace(
        call,
        outcome=Outcome.FAILED if answer.failed else Outcome.FINISHED,
        response_model=answer.model or call.response_model,
        finish_reason=answer.finish_reason,
        service_tier=answer.service_tier,
        usage=answer.usage,
    )
