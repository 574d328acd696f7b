import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import credentials
from accounting.credentials import MAX_TOKEN, Credential, known_as, sent

HOUR, DAY = 3600, 24 * 3600
ISSUER, SUBJECT = "https://login.example/tenant-1", "9f86d081-robot-7e42"


def token(claims: object, signature: str = "c2lnbmVk") -> str:
    """A JSON Web Token of the claims; nobody verifies its signature."""
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), signature])


def hourly(hour: int, **claims: Any) -> str:
    """The token of that hour, of the subject unless the claims say otherwise."""
    return token(
        {"iss": ISSUER, "sub": SUBJECT, "iat": hour * HOUR, "exp": (hour + 1) * HOUR, "jti": str(hour)} | claims
    )


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "x-goog-api-key", "authorization"])
def test_a_key_is_known_by_its_sha256_and_its_last_four(header: str) -> None:
    key = "sk-0123456789abcdef"
    assert sent({header: key}) == Credential(hashlib.sha256(key.encode()).hexdigest(), "cdef")


def test_a_scheme_is_no_part_of_the_key() -> None:
    assert known_as("Bearer sk-0123456789abcdef") == known_as(" bearer  sk-0123456789abcdef\n")
    assert known_as("Bearer sk-0123456789abcdef") == known_as("sk-0123456789abcdef")


def test_of_a_short_key_no_end_is_kept() -> None:
    assert known_as("fifteen-letters").last4 == ""
    assert sent({}) == sent({"authorization": "Bearer "}) == Credential("", "")


def test_a_signed_request_is_known_by_its_access_key() -> None:
    signed = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{}/us-east-1/bedrock/aws4_request, Signature={}"
    assert known_as(signed.format("20261123", "0a")) == known_as(signed.format("20261124", "1b"))
    assert known_as(signed.format("20261123", "0a")) == known_as("AKIAIOSFODNN7EXAMPLE")


def test_the_tokens_of_one_subject_are_one_key() -> None:
    day = {sent({"authorization": f"Bearer {hourly(hour)}"}) for hour in range(24)}
    assert [key.last4 for key in day] == ["7e42"]


@pytest.mark.parametrize("claims", [{"sub": "another"}, {"iss": "https://login.example/tenant-2"}])
def test_tokens_of_another_subject_or_issuer_are_another_key(claims: dict[str, Any]) -> None:
    assert known_as(hourly(1)).fingerprint != known_as(hourly(1, **claims)).fingerprint


@pytest.mark.parametrize("name", ["azp", "appid", "client_id", "oid", "api_key"])
def test_a_token_without_a_subject_is_known_by_its_client(name: str) -> None:
    one, other = (known_as(hourly(hour, sub=None, **{name: "client-4711"})) for hour in (1, 2))
    assert one == other
    assert one.last4 == "4711"


def test_who_signed_in_goes_before_the_program_he_used() -> None:
    assert known_as(hourly(1, azp="web")) == known_as(hourly(2, azp="cli"))


def test_a_subject_that_is_a_number_is_one() -> None:
    assert known_as(hourly(1, sub=1234567)) == known_as(hourly(2, sub=1234567))
    assert known_as(hourly(1, sub=1234567)).last4 == "4567"


@pytest.mark.parametrize("claims", [
    {"iat": 0, "exp": 365 * DAY},  # a provider that issues keys as tokens: one person may have several
    {"exp": None},
    {"exp": True},
    {"sub": None},
    {"sub": ""},
    {"sub": ["a"]},
    {"exp": 10**400, "iat": 0.5},
], ids=str)  # fmt: skip
def test_a_token_that_does_not_rotate_or_names_nobody_is_a_key_of_its_own(claims: dict[str, Any]) -> None:
    one, other = hourly(1, **claims), hourly(2, **{"jti": "b"} | claims)
    assert known_as(one).fingerprint == hashlib.sha256(one.encode()).hexdigest()
    assert known_as(one).fingerprint != known_as(other).fingerprint


@pytest.mark.parametrize("text", [
    "e..", "eyJ.eyJ.x", "eyJ.e\xff.x", "eyJ.\x00.", token(7), token([]), token("text"), token(None),
    "eyJhbGciOiJub25lIn0." + "W" * 4000 + ".",
    "e30." + base64.urlsafe_b64encode(b"[" * 9000).decode() + ".x",
    "e30." + base64.urlsafe_b64encode(b'{"exp":1,"sub":' + b"9" * 5000 + b"}").decode() + ".x",
    "e30.eyJleHAiOk5hTiwic3ViIjoiYSJ9.x",  # the time it ends is NaN
])  # fmt: skip
def test_what_only_looks_like_a_token_is_a_key_like_any_other(text: str) -> None:
    assert len(known_as(text).fingerprint) == 64


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    assert known_as(text) == known_as(text)
    assert known_as(f"ey.{text}.x").fingerprint


def test_a_token_past_the_bound_is_not_read() -> None:
    long = hourly(1, groups="g" * MAX_TOKEN)
    assert known_as(long).fingerprint == hashlib.sha256(long.encode()).hexdigest()


def test_no_token_and_no_other_claim_is_remembered() -> None:
    secret = hourly(1, email="canary@example.org", sub="canary-subject-0001")
    known_as(secret)
    kept = repr(credentials._of_tokens)
    assert "0001" in kept
    assert [text for text in ("canary", *secret.split(".")) if text in kept] == []


def test_a_process_that_meets_many_tokens_remembers_a_bounded_number() -> None:
    for hour in range(3000):
        known_as(hourly(hour))
    assert len(credentials._of_tokens) <= 1024
