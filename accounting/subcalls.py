"""What another model used inside an answer, as a call of its own."""

from collections.abc import Iterable
from dataclasses import replace

from accounting.formats import SubCall
from accounting.usage import Call, sub_id


def below(call: Call, stated: Iterable[SubCall]) -> tuple[Call, ...]:
    """The sub-calls of a call that has ended, in the order in which its answer states them."""
    return tuple(_sub_call(call, number, each) for number, each in enumerate(stated, 1))


def _sub_call(call: Call, number: int, stated: SubCall) -> Call:
    """A sub-call: who asked, and when, is the call's own; the model, and what it used, another's."""
    return replace(
        call,
        id=sub_id(call.id, number),
        parent_id=call.id,
        request_model=None,
        response_model=stated.model,
        response_id=None,
        effort=None,
        max_tokens=None,
        first_token_at=None,
        bytes_in=0,
        bytes_out=0,
        finish_reason=None,
        script=None,
        usage=stated.usage,
    )
