"""The rough script of a request's text, told from its bytes: what a token's length in bytes depends on most."""

SAMPLE = 2048
"""Bytes that are looked at, taken from eight places: a long conversation may begin with instructions in English."""

LATIN = "latin"
TWO_BYTE = "two-byte"  # Cyrillic, Greek, Arabic, Hebrew and what lies beside them
THREE_BYTE = "three-byte"  # the scripts of India and South-East Asia, Georgian
CJK = "cjk"
ESCAPED = "escaped"  # \uXXXX for text in letters
ESCAPED_CJK = "escaped-cjk"
ENCODED = "encoded"  # base64: an image, a sound or a document

SCRIPTS = (LATIN, TWO_BYTE, THREE_BYTE, CJK, ESCAPED, ESCAPED_CJK, ENCODED)

_PLACES = 8
_ENOUGH = 5
"""A script of which more than a fifth of the bytes is made decides: names of fields are Latin in any language."""

_FEW_SEPARATORS = 40
"""Text and JSON have a space, a quote or a comma every few bytes; base64 has none, and so hides text beside it."""


def script_of(body: bytes) -> str | None:
    """None for an empty body. Takes some microseconds, however long the body is.

    Requests written by clients that escape all but ASCII are told apart: six bytes for a character is twice as many.
    """
    if not body:
        return None
    sample = _sample(body)
    shares = _escaped(sample) if sample.isascii() else {**_escaped(sample), **_by_leads(sample)}
    script = max(shares, key=shares.__getitem__)
    if shares[script] * _ENOUGH > len(sample):
        return script
    return LATIN if _has_separators(sample) else ENCODED


def _sample(body: bytes) -> bytes:
    if len(body) <= SAMPLE:
        return body
    step, size = len(body) // _PLACES, SAMPLE // _PLACES
    return b"".join([body[at : at + size] for at in range(0, step * _PLACES, step)])


def _escaped(sample: bytes) -> dict[str, int]:
    """How many bytes of the sample are escapes, by what they stand for."""
    escapes = sample.count(b"\\u")
    below_1000 = sample.count(b"\\u0") if escapes else 0
    return {ESCAPED: 6 * below_1000, ESCAPED_CJK: 6 * (escapes - below_1000)}


def _by_leads(sample: bytes) -> dict[str, int]:
    """How many bytes of the sample are characters of each script; the first byte of a character tells."""
    kinds = sample.translate(_KINDS)
    return {TWO_BYTE: 2 * kinds.count(b"2"), THREE_BYTE: 3 * kinds.count(b"3"), CJK: 3 * kinds.count(b"c")}


def _kinds() -> bytes:
    """Lead bytes of UTF-8. Left out: Latin with accents (to U+036F), and punctuation and symbols (0xE2)."""
    table = bytearray(256)
    for leads, kind in ((range(0xCD, 0xE0), b"2"), ((0xE0, 0xE1), b"3"), (range(0xE3, 0xEE), b"c")):
        for lead in leads:
            table[lead] = kind[0]
    return bytes(table)


_KINDS = _kinds()


def _has_separators(sample: bytes) -> bool:
    few = len(sample) // _FEW_SEPARATORS
    return sample.count(b" ") >= few or sample.count(b" ") + sample.count(b'"') + sample.count(b",") >= few
