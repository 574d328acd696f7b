"""`accounting learn` and `accounting doctor --estimates`."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from accounting.usage import Call
from tests.books import NOON, Books, made, used
from tests.cli.conftest import Run


def some(count: int, first: int = 1, **changes: object) -> list[Call]:
    """Chinese requests of four bytes a token, streamed back in 250 bytes a token."""
    calls = []
    for number in range(first, first + count):
        call = made(NOON + timedelta(seconds=number), number, script="cjk", stream=True, bytes_in=4_000 * number,
                    bytes_out=2_500 * number, usage=used(1_000 * number, 10 * number))  # fmt: skip
        calls.append(replace(call, **changes))  # type: ignore[arg-type]
    return calls


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounting.cli.work.now", lambda: NOON + timedelta(hours=1))


def test_before_anything_is_learned_the_doctor_says_what_it_takes(run: Run, books: Books) -> None:
    ran = run("doctor", "--estimates")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Nothing is learned yet: that takes 20 finished calls of a model, and `accounting work`")


def test_what_was_learned_is_shown_with_its_error_by_model_and_script(run: Run, books: Books) -> None:
    books.deliver(*some(40), *some(3, 100, request_model="rare"))
    books.roll()
    assert run("learn").out == "Learned 6 lines and 4 sizes from 43 calls.\n"
    ran = run("doctor", "--estimates")
    headings, *lines = (line.split() for line in ran.lines)
    of_input = dict(zip(headings, lines[3], strict=True))
    assert of_input["model"] == "z-ai/glm-5"
    assert (of_input["tokens_of"], of_input["sent"], of_input["script"]) == ("input", "-", "cjk")
    assert (of_input["calls"], of_input["examined"]) == ("40", "20")
    assert (of_input["per_KB"], of_input["times_priors"], of_input["plus"]) == ("250", "-", "0")
    of_all = dict(zip(headings, lines[2], strict=True))
    assert (of_all["script"], of_all["per_KB"], of_all["times_priors"]) == ("(all)", "-", "0.93")
    assert {"error_%", "high_error_%", "bias_%", "prior_error_%"} <= set(headings)
    assert "times what the shipped priors expect" in ran.out
    assert ran.lines[-1].startswith(
        "Too few finished calls with usage to learn from, which takes 20: wcode rare (3 calls). "
    )


def test_models_that_nobody_has_learned_from_yet_are_named_with_what_to_do(run: Run, books: Books) -> None:
    rare = [each for number in range(8) for each in some(2, 100 + 2 * number, request_model=f"m{number}")]
    books.deliver(*some(40), *rare)
    said = run("doctor", "--estimates").lines
    assert said[1] == (
        "To be learned from: wcode z-ai/glm-5 (40 calls). accounting learn does it at once, accounting work every hour."
    )
    assert "wcode m0 (2 calls), wcode m1 (2 calls)" in said[2]
    assert "wcode m5 (2 calls) and 2 more. Until then" in said[2]
    assert len(said) == 3
    run("learn")
    assert "To be learned from" not in run("doctor", "--estimates").out


def test_json_holds_the_errors_as_parts_of_one(run: Run, books: Books) -> None:
    books.deliver(*some(40), *some(3, 100, request_model="rare"))
    books.roll()
    run("learn")
    found = json.loads(run("doctor", "--estimates", "--json").out)
    by_place = {(each["model"], each["endpoint"], each["script"]): each for each in found["learned"]}
    stream = by_place["z-ai/glm-5", "chat/completions", "cjk"]
    assert (stream["per_million"], stream["error"], stream["bias"], stream["stream"]) == (4_000, 0, 0, True)
    assert by_place["z-ai/glm-5", "", "cjk"]["per_million"] == 250_000
    assert by_place["z-ai/glm-5", "", "cjk"]["prior_error"] == pytest.approx(0.08)
    assert found["unlearned"] == [{"provider": "wcode", "model": "rare", "calls": 3}]
