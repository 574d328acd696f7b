"""xAI's dialect: what its rows in the catalogue don't say."""

from accounting.formats import find
from accounting.formats.xai import name


def test_its_chat_is_a_dialect_and_its_responses_are_none() -> None:
    chat, responses = find("POST", "/v1/chat/completions", "xai"), find("POST", "/v1/responses", "xai")
    assert chat is not None
    assert responses is not None
    assert (chat.format.name, responses.format.name) == (name, "openai_responses")
