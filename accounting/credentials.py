"""What a call is paid with: the key that it sent, known by a fingerprint and four characters, and never kept.

Whoever signs in anew each hour sends another token each time. Such tokens are known by what stays the same: a
signed request by the id of its access key, a JSON Web Token by its issuer and subject. They are read without being
verified: the books want to know whom the provider would bill, and a forged token buys nothing from it.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeGuard

from accounting.usage import clean

MAX_TOKEN = 16 * 1024
"""Characters of a token that is read; a longer one is a key like any other."""

LONGEST_LIFE = timedelta(days=31)
"""A token that holds for longer is a key of its own: its provider issues several to one subject."""

_SUBJECTS = ("sub", "azp", "appid", "client_id", "oid", "api_key")
"""Claims that say whose a token is, the first that is there: OpenID Connect, Microsoft Entra, RFC 9068, Zhipu."""

_HEADERS = ("x-api-key", "api-key", "x-goog-api-key", "authorization")
_SCHEME = re.compile(r"\s*(bearer|basic)\s+", re.IGNORECASE)
_ACCESS_KEY = re.compile(r"AWS4-\S+\s.*?Credential=([^/,\s]+)")
_TOKENS_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Credential:
    """A key as the books know it: SHA-256 in hex and the last four characters. Both are empty where none was sent."""

    fingerprint: str
    last4: str


_NONE = Credential("", "")
_of_tokens: dict[bytes, Credential] = {}
"""By the whole token's SHA-256, as the token itself is a secret, and a part of it may be shared."""


def sent(headers: Mapping[str, str]) -> Credential:
    """The key in a request's headers, whose names are in lower case."""
    return known_as(next(filter(None, (headers.get(name) for name in _HEADERS)), ""))


def known_as(text: str) -> Credential:
    """The key in the value of a header, with its scheme or without."""
    scheme = _SCHEME.match(text)
    key = text[scheme.end() if scheme else 0 :].strip()
    if signed := _ACCESS_KEY.match(key):
        key = signed[1]
    if not key:
        return _NONE
    digest = hashlib.sha256(key.encode("latin-1", "backslashreplace"))
    if key.startswith("e") and key.count(".") == 2 and len(key) <= MAX_TOKEN:
        return _of_token(key, digest.digest())
    return _of_key(key, digest.hexdigest())


def _of_key(key: str, fingerprint: str) -> Credential:
    # The end of a short key would give too much of it away.
    return Credential(fingerprint, (clean(key[-4:]) or "") if len(key) >= 16 else "")


def _of_token(token: str, digest: bytes) -> Credential:
    found = _of_tokens.get(digest)
    if found is None:
        if len(_of_tokens) >= _TOKENS_REMEMBERED:
            _of_tokens.clear()
        found = _of_tokens[digest] = _read(token) or _of_key(token, digest.hex())
    return found


def _read(token: str) -> Credential | None:
    """The credential of the token's subject; None for what is no token, names nobody, or does not rotate."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==="))
        return _of_subject(claims) if isinstance(claims, dict) and _rotates(claims) else None
    except (ValueError, RecursionError, ArithmeticError):  # whatever it is, its whole is a key
        return None


def _of_subject(claims: Mapping[str, object]) -> Credential | None:
    subject = next(filter(None, (_text(claims.get(name)) for name in _SUBJECTS)), "")
    if not subject:
        return None
    identity = json.dumps(["jwt", _text(claims.get("iss")), subject])
    return Credential(hashlib.sha256(identity.encode()).hexdigest(), clean(subject[-4:]) or "")


def _rotates(claims: Mapping[str, object]) -> bool:
    """Whether another token will follow: this one ends, and doesn't say that it lasts for months."""
    end, start = claims.get("exp"), claims.get("iat", claims.get("nbf"))
    if not _is_number(end):
        return False
    return not _is_number(start) or end - start <= LONGEST_LIFE.total_seconds()


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
