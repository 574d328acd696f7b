"""`accounting extract`: what one saved answer says, and where."""

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from accounting.cli.bills import MAX_FILE
from tests.cli.conftest import Run
from tests.formats.catalogue import Row, rows

GLM = {
    "id": "c1",
    "model": "glm-5",
    "choices": [{"finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 15,
        "completion_tokens": "210",
        "total_tokens": 225,
        "completion_tokens_details": {"reasoning_tokens": 229},
        "cost": 0.00014,
    },
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    saved = tmp_path / "answer.json"
    saved.write_text(json.dumps(GLM))
    return saved


def test_it_says_what_was_used_and_where_it_stood_and_what_was_off(run: Run, file: Path) -> None:
    ran = run("extract", file)
    assert ran.code == 0
    assert ran.out == (
        "A body of 224 bytes, read as openai_chat, by its shape.\n"
        "\n"
        "what              used\n"
        "input tokens        15\n"
        "output tokens      210\n"
        "reasoning tokens   210\n"
        "requests             1\n"
        "\n"
        "usage          provider\n"
        "model          glm-5\n"
        "id             c1\n"
        "finish reason  stop\n"
        "stated cost    0.00014 USD\n"
        "\n"
        "Read from the usage block:\n"
        "\n"
        "path                                        stated  taken\n"
        "prompt_tokens                                   15     15\n"
        'completion_tokens                            "210"    210\n'
        "total_tokens                                   225    225\n"
        "completion_tokens_details.reasoning_tokens     229    229\n"
        "\n"
        "completion_tokens_text: completion_tokens is a number written as text. It is taken as the number.\n"
        "\n"
        "reasoning_exceeds_output: There are more reasoning tokens than came out. It is taken to be all of that.\n"
    )


def test_the_same_as_json(run: Run, file: Path) -> None:
    found = json.loads(run("extract", file, "--json", "--path", "/v1/chat/completions").out)
    assert (found["format"], found["told_by"], found["stream"], found["bytes"]) == ("openai_chat", "path", False, 224)
    assert (found["usage"]["output_tokens"], found["usage"]["cache_read_tokens"]) == (210, None)
    assert found["usage"]["provider_cost"] == {"amount": "0.00014", "currency": "USD"}
    assert found["read"][1] == {"path": ["completion_tokens"], "stated": '"210"', "taken": 210}
    assert [anomaly["name"] for anomaly in found["anomalies"]] == ["completion_tokens_text", "reasoning_exceeds_output"]
    assert found["anomalies"][1]["rule"] == "It is taken to be all of that."


def test_the_answer_may_come_from_a_pipe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}\n\ndata: [DONE]\n\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stream)))
    assert run("extract", "-").lines[:5] == [
        "A stream of 92 bytes, read as openai_chat, by its shape.",
        "",
        "what           used",
        "input tokens      9",
        "output tokens     4",
    ]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_every_answer_of_the_catalogue_can_be_shown(run: Run, tmp_path: Path, row: Row) -> None:
    saved = tmp_path / "answer"
    saved.write_bytes(row.body)
    told = ("--provider", row.provider, "--path", row.path, "--content-type", row.content_type)
    ran, as_json = run("extract", saved, *told), run("extract", saved, *told, "--json")
    assert ran.code == as_json.code == (row.source == "missing")
    assert all(anomaly in ran.out for anomaly in row.anomalies)
    assert {name: count for name, count in json.loads(as_json.out)["usage"].items() if name in row.counts} == row.counts


@pytest.mark.parametrize("garbage", [b"\x7fELF\x02\x01\x01", b"<html>502</html>", b"\xff\xfe{\x00", b"{", b"\x00" * 99])
def test_what_is_no_answer_is_said_to_be_none(run: Run, file: Path, garbage: bytes) -> None:
    file.write_bytes(garbage)
    ran = run("extract", file)
    assert ran.code == 1
    assert "not read." in ran.lines[0]
    assert ran.lines[-1] == (
        "body_unreadable: The answer is no JSON and no stream of events: cut, broken, still compressed, or of another "
        "kind. Nothing was read."
    )


def test_an_endpoint_that_is_only_recorded_is_said_to_be(run: Run, file: Path) -> None:
    file.write_text('{"id": "batch_1"}')
    ran = run("extract", file, "--path", "/v1/batches")
    assert ran.code == 1
    assert ran.lines[0] == "A body of 17 bytes, of an endpoint whose answers are recorded and not read yet."


def test_a_value_beyond_reason_is_shown_in_short(run: Run, file: Path) -> None:
    file.write_text(json.dumps(GLM).replace("15,", f"{'9' * 5000},"))
    ran = run("extract", file)
    assert ran.code == 0
    assert f"prompt_tokens                               {'9' * 60}…      -" in ran.lines
    assert "prompt_tokens_too_large: prompt_tokens is more than any call can use. It is unknown." in ran.lines


def test_a_file_that_cannot_be_read_is_said_in_a_sentence(run: Run, tmp_path: Path) -> None:
    missing, empty, huge = tmp_path / "missing", tmp_path / "empty", tmp_path / "huge"
    empty.touch()
    with huge.open("wb") as made:
        made.truncate(MAX_FILE + 1)
    said = {
        missing: f"Can't read {missing}: No such file or directory.",
        tmp_path: f"Can't read {tmp_path}: Is a directory.",
        empty: f"{empty} is empty; expected an answer's body, or the bytes of its stream.",
        huge: f"{huge} has more than 64 MiB; expected one answer's body or stream.",
    }
    for file, sentence in said.items():
        ran = run("extract", file)
        assert (ran.code, ran.out, ran.err) == (2, "", f"{sentence}\n")


def test_without_a_file_it_says_what_it_takes(run: Run) -> None:
    ran = run("extract")
    assert (ran.code, ran.err) == (
        2,
        "Which answer? Give a file, or - for the input; --formats lists what can be read.\n",
    )


def test_the_formats_are_listed_and_what_is_only_recorded(run: Run) -> None:
    text = run("extract", "--formats").out
    assert "openai_chat" in text
    assert "Recorded as calls, their usage not read yet:\n\n  " in text
    assert "  fine_tuning/jobs\n" in text
    assert "every other POST, too, these by name:\n\n  files\n" in text
    recorded, _, free = text.partition("Not recorded, as they buy nothing:")
    assert ("  moderations\n" in recorded, "  count_tokens\n" in free) == (True, True)
    found = json.loads(run("extract", "--formats", "--json").out)
    assert {"name": "xai_chat", "providers": ["xai"], "paths": ["chat/completions"]} in found["formats"]
    assert "batches" in found["recorded_unread"]
    assert ("files" in found["recorded_unread_at_providers"], "count_tokens" in found["free"]) == (True, True)
    assert "text/event-stream" in found["streams"]


def test_on_a_terminal_it_is_a_table(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "60")
    text = run("extract", file).out
    assert "─" in text
    assert "reasoning_exceeds_output" in text


def test_nothing_in_an_answer_can_steer_the_terminal(run: Run, file: Path) -> None:
    file.write_text(json.dumps({**GLM, "model": "\x1b[2J", "id": "a\nb"}))
    assert "\x1b" not in run("extract", file).out


def test_a_provider_is_the_listed_one_whatever_its_case_and_one_that_is_not_listed_is_named(
    run: Run, file: Path
) -> None:
    assert run("extract", file, "--provider", " ZhiPu").err == ""
    ran = run("extract", file, "--provider", "perplexitee")
    assert (
        ran.err == "No provider of the lists is called perplexitee. Did you mean perplexity? It is read as anybody's.\n"
    )
    assert (ran.code, ran.out) == (0, run("extract", file).out)
    assert run("extract", file, "--provider", "\t").code == 2


def test_a_compressed_file_is_to_be_unpacked_first(run: Run, file: Path) -> None:
    file.write_bytes(gzip.compress(file.read_bytes()))
    ran = run("extract", file)
    assert ran.code == 1
    assert ran.err == "These bytes are compressed with gzip; unpack them first: gunzip < FILE | accounting extract -\n"


def test_bytes_that_are_not_what_they_are_called_are_read_and_that_is_told(run: Run, file: Path) -> None:
    ran = run("extract", file, "--content-type", "text/event-stream")
    assert (ran.code, ran.out) == (0, run("extract", file).out)
    assert ran.err == "The bytes are no text/event-stream, as they begin; they are read as what they are.\n"
    assert run("extract", file, "--content-type", "application/json").err == ""


_CHAT = {"prompt_tokens": 10, "completion_tokens": 5, "citation_tokens": 300}
_BILLED = {"billed_units": {"input_tokens": 2406}, "tokens": {"input_tokens": 2935}}


@pytest.mark.parametrize(
    ("provider", "body", "path", "taken"),
    [
        ("perplexity", {"choices": [], "usage": {**_CHAT, "cost": {"total_cost": 0.01}}}, "citation_tokens", "-"),
        ("perplexity", {"choices": [], "usage": {**_CHAT, "reasoning_tokens": 9}}, "citation_tokens", "300"),
        ("cohere", {"usage": {**_BILLED, "cached_tokens": 2928}}, "cached_tokens", "2406"),
    ],
)
def test_what_is_shown_as_taken_is_in_the_counts(
    run: Run, file: Path, provider: str, body: dict[str, object], path: str, taken: str
) -> None:
    file.write_text(json.dumps(body))
    shown = [line for line in run("extract", file, "--provider", provider).lines if line.startswith(f"{path} ")]
    assert [line.split()[2] for line in shown] == [taken]
