"""What each story of `sync_calls` and `async_calls` leaves in the books, the same with every SDK and in both colours.

Token counts are not here: they are the provider's own, from the simulator's ledger.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Story:
    """`outcomes` are those of the attempts of one request, in order; `requests` of the kind were made.

    `seen` is False where the answer was not received to the place up to which it was sent, so that no usage can be
    known. `arrives` is False where no request arrived. `known_later`: a poll told the outcome.
    """

    outcomes: tuple[str, ...] = ("finished",)
    attempts: tuple[int, ...] = (1,)
    requests: int = 1
    stream: bool = False
    raises: bool = False
    seen: bool = True
    arrives: bool = True
    project: tuple[str, str] = ("sdks", "meter")
    endpoint: str = ""
    provider: str = "127.0.0.1"
    anomalies: tuple[str, ...] = ()
    known_later: bool = False


STREAM = Story(stream=True)
RETRIED = Story(("failed", "finished"), (1, 2))
LEFT = Story(("interrupted",), stream=True)
PROXIED = Story(provider="provider.test")

EVERYWHERE = {
    "whole": Story(),
    "whole_gzipped": Story(),
    "streamed": STREAM,
    "streamed_gzipped": STREAM,
    "streamed_in_small_pieces": STREAM,
    "raw": RETRIED,
    "raw_streamed": STREAM,
    "streaming_response": Story(),
    "streaming_response_streamed": STREAM,
    "streaming_response_unread": Story(("interrupted",), seen=False),
    "helper": STREAM,
    "twice": Story(requests=2),
    "retried": RETRIED,
    "retried_stream": Story(("failed", "finished"), (1, 2), stream=True),
    "retried_in_vain": Story(("failed",) * 3, (1, 2, 3), raises=True),
    "refused": Story(("failed",), raises=True),
    "refused_stream": Story(("failed",), stream=True, raises=True),
    "redirected": Story(("failed", "finished"), (1, 1)),
    "error_in_stream": Story(("failed",), stream=True, raises=True),
    "cut": Story(("interrupted",), raises=True, anomalies=("body_unreadable",)),
    "cut_stream": Story(("interrupted",), stream=True, raises=True),
    "dropped_once": Story(("unknown", "finished"), (1, 2)),
    "timed_out": Story(("unknown",), raises=True, seen=False),
    "unreachable": Story(("failed",), raises=True, arrives=False),
    "left_early": LEFT,
    "left_unread": Story(("interrupted",), stream=True, seen=False),
    "other_options": Story(("failed",), raises=True),
    "attributed": Story(project=("another", "attribute")),
    "through_a_proxy": PROXIED,
    "through_a_mount": PROXIED,
    "through_a_proxy_of_the_environment": PROXIED,
    "openai_given_an_httpx_client": STREAM,
    "openai_asked_for_usage": STREAM,
    "openai_error_with_usage_in_stream": Story(("failed",), stream=True, raises=True),
    "openai_recorded": Story(anomalies=("reasoning_exceeds_output",)),
    "openai_embedded": Story(endpoint="embeddings"),
    "openai_responded": Story(endpoint="responses"),
    "openai_responded_streamed": Story(endpoint="responses", stream=True),
    "openai_responded_in_background": Story(endpoint="responses", known_later=True),
    "openai_responded_in_background_streamed": Story(endpoint="responses", stream=True, known_later=True),
    "openai_transcribed": Story(endpoint="audio/transcriptions"),
    "openai_drew": Story(endpoint="images/generations"),
    "openai_redrew": Story(endpoint="images/edits"),
    "openai_models": Story(requests=0),
    "anthropic_counted": Story(requests=0),
}
STORIES = {
    "sync": EVERYWHERE
    | {
        "left_open": LEFT,
        "retried_in_threads": Story(("failed", "finished"), (1, 2), requests=8),
    },
    "async": EVERYWHERE
    | {
        "cancelled_while_waiting_for_more": LEFT,
        "cancelled_while_at_other_work": LEFT,
        "cancelled_before_the_answer": Story(("unknown",), seen=False),
        "retried_side_by_side": Story(("failed", "finished"), (1, 2), requests=8),
    },
}
ENDPOINTS = {"openai": "chat/completions", "anthropic": "messages"}


def stories_of(sdk: str, colour: str) -> dict[str, Story]:
    """Stories by the model that their calls name. One that begins with an SDK's name is that one's alone."""
    others = tuple(f"{name}_" for name in ENDPOINTS if name != sdk)
    return {f"{sdk}-{colour}-{name}": story for name, story in STORIES[colour].items() if not name.startswith(others)}
