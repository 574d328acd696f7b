"""OpenAI's older completions, which some still offer: for base models, and to fill in the middle.

Source: OpenAI API reference, completion object. All but the text is as in chat completions.
"""

from accounting.formats.openai_chat import answer, ask, asking_for_usage, stream

__all__ = ["answer", "ask", "asking_for_usage", "name", "providers", "stream", "suffixes"]

name = "openai_completions"
suffixes: tuple[str, ...] = ("completions",)
providers: tuple[str, ...] = ()
