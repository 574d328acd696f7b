"""Google's own SDK, on both HTTP libraries and in both colours, against a server on loopback."""

import hashlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.capture.wire import Asked, Server, Step, plain, stream

from .environments import EnvironmentMissing, Generation, python_for
from .runs import SECONDS, books, environment

pytestmark = pytest.mark.timeout(900)

GOOGLE = Generation("google3", ("google-genai>=3,<4", "httpx>=0.28,<1"))
KEY, MODEL = "AIza-not-a-key-9f3b", "gemini-x"
WAYS = 3 * 2  # libraries and the SDK's own choice, colours

COUNTED = {"promptTokenCount": 9, "candidatesTokenCount": 3, "thoughtsTokenCount": 1, "totalTokenCount": 13}
INTERACTION = {
    "id": "v1_x",
    "status": "completed",
    "model": MODEL,
    "steps": [],
    "usage": {"total_input_tokens": 9, "total_output_tokens": 3, "total_thought_tokens": 1, "total_tokens": 13},
}


def _said(**candidate: object) -> dict[str, Any]:
    content = {"parts": [{"text": "Hé"}], "role": "model"}
    return {
        "candidates": [{"content": content, **candidate}],
        "usageMetadata": COUNTED,
        "modelVersion": "gemini-x-1",
        "responseId": "r",
    }


def _events(*said: object) -> bytes:
    return stream(b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in said))


def _answer(asked: Asked) -> Iterable[Step]:
    if "streamGenerateContent" in asked.path:
        return [_events(_said(), _said(finishReason="STOP"))]
    if "mbedContent" in asked.path:
        body = {"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 5}}
        return [plain(json.dumps(body).encode())]
    if "interactions" not in asked.path:
        return [plain(json.dumps(_said(finishReason="STOP")).encode())]
    if not asked.json.get("stream"):
        return [plain(json.dumps(INTERACTION).encode())]
    began = {"event_type": "interaction.created", "interaction": {**INTERACTION, "usage": None}}
    return [_events(began, {"event_type": "interaction.completed", "interaction": INTERACTION})]


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return python_for(GOOGLE)
    except EnvironmentMissing as missing:
        reason = f"No environment for {GOOGLE.name}: {missing}"
    return pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def _run(python: Path, directory: Path, *words: str) -> dict[str, Any]:
    directory.mkdir()
    with Server() as server:
        server.answer = _answer
        command = [str(python), "-m", "tests.sdks.google_driver", server.url, *words]
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment(directory),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_metered_caller_gets_the_same_and_the_books_have_what_google_told(python: Path, tmp_path: Path) -> None:
    assert _run(python, tmp_path / "plain") == _run(python, tmp_path / "metered", "metered")

    calls, [source] = books(tmp_path / "metered" / "books.sqlite3")
    assert source["faults"] == {}
    written = Counter(
        (call["endpoint"], call["stream"], call["input_tokens"], call["output_tokens"], call["reasoning_tokens"])
        for call in calls[MODEL]
    )
    assert written == dict.fromkeys(
        [
            ("*:generateContent", False, 9, 4, 1),
            ("*:streamGenerateContent", True, 9, 4, 1),
            ("*:batchEmbedContents", False, 5, 0, None),
            ("interactions", False, 9, 4, 1),
            ("interactions", True, 9, 4, 1),
        ],
        WAYS,
    )
    fingerprint = hashlib.sha256(KEY.encode()).hexdigest()
    told = {(call["outcome"], call["usage_source"], call["fingerprint"], call["last4"]) for call in calls[MODEL]}
    assert told == {("finished", "provider", fingerprint, KEY[-4:])}
