import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from accounting import learning, snapshots
from accounting.estimates import NOTHING, Line, Place, Sizes, Snapshot, estimate, priors
from accounting.fitting import ENOUGH, Fit, Lesson, fitted, sized
from accounting.ingest import StoreDestination
from accounting.learning import KEPT, MOST_LINES, known, learn, unlearned
from accounting.scheduler import JOBS, Desk, ring
from accounting.snapshots import MAX_BYTES
from accounting.store import reading, transact
from accounting.store.tables import answer_sizes, calls, estimate_lines
from accounting.usage import Call, Outcome, Usage, UsageSource
from tests.books import NOON, Books, made, used
from tests.conftest import NewBooks

CHAT = "chat/completions"
GLM = Place("wcode", "z-ai/glm-5")
LATER = NOON + timedelta(hours=1)


def world(
    count: int = 200, *, per_byte: float = 0.25, fixed: int = 0, noise: float = 0.0, first: int = 1, **changes: object
) -> list[Call]:
    """Finished calls whose input is so many tokens a byte, give or take; their streams have a token in 250 bytes."""
    chance = random.Random(count)
    some = []
    for number in range(first, first + count):
        size = chance.randrange(500, 20_000)
        tokens_in = round((fixed + per_byte * size) * (1 + noise * chance.uniform(-1, 1)))
        tokens_out = chance.randrange(20, 400)
        call = made(NOON + timedelta(seconds=number), number, script="cjk", stream=True, bytes_in=size,
                    bytes_out=250 * tokens_out, usage=used(tokens_in, tokens_out))  # fmt: skip
        some.append(replace(call, **changes))  # type: ignore[arg-type]
    return some


def taught(books: Books, some: Sequence[Call], now: datetime = LATER) -> Snapshot:
    """What the books have learned once these calls are in them."""
    for at in range(0, len(some), 500):
        books.deliver(*some[at : at + 500])
    learn(books.engine, lambda: now)
    return snapshot(books)


def snapshot(books: Books) -> Snapshot:
    with reading(books.engine) as conn:
        return learning.snapshot(conn)


def lessons(pairs: Iterable[tuple[int, int]]) -> list[Lesson]:
    """Every other one examines; over all scripts the priors expect one token in four bytes."""
    return [Lesson(size, size // 4, tokens, bool(number % 2)) for number, (size, tokens) in enumerate(pairs)]


def fit_of(pairs: Iterable[tuple[int, int]], script: str = "cjk") -> Fit:
    fit = fitted(GLM._replace(script=script), lessons(pairs))
    assert fit is not None
    return fit


@given(st.integers(50_000, 3_000_000), st.integers(0, 2_000), st.integers())
def test_tokens_that_follow_a_line_are_learned_to_the_token(slope: int, fixed: int, seed: int) -> None:
    sizes = random.Random(seed).sample(range(1_000, 100_000), 60)
    fit = fit_of((size, fixed + slope * size // 1_000_000) for size in sizes)
    for size in (1_000, 10_000, 100_000):
        assert fit.line.at(size) == pytest.approx(fixed + slope * size // 1_000_000, abs=3, rel=1e-3)
    assert fit.error <= 1000 * 2 // max(fixed + slope // 1_000, 1) + 1


def test_the_error_that_is_stated_is_that_on_calls_it_has_not_seen() -> None:
    chance = random.Random(5)
    pairs = [(size, round(size / 4 * (1 + chance.gauss(0, 0.15)))) for size in range(1_000, 21_000, 50)]
    fit = fit_of(pairs)
    off = sorted(abs(fit.line.at(size) - tokens) / tokens for size, tokens in pairs[1::2])
    assert (fit.calls, fit.examined) == (400, 200)
    assert fit.error == pytest.approx(1000 * median(off), abs=2)
    assert fit.high_error == pytest.approx(1000 * off[179], abs=2)
    assert 80 <= fit.error <= 120
    assert abs(fit.bias) < 30


def test_calls_that_examine_teach_nothing() -> None:
    pairs = [(size, size // 3) for size in range(1_000, 5_000, 10)]
    wrong = [(size, tokens * (9 if number % 2 else 1)) for number, (size, tokens) in enumerate(pairs)]
    assert fit_of(wrong).line == fit_of(pairs).line
    assert fit_of(pairs).error == 0
    assert fit_of(wrong).error == pytest.approx(888, abs=2)
    assert fit_of(wrong).bias == pytest.approx(-889, abs=2)


def test_a_few_odd_calls_move_nothing_much() -> None:
    pairs = [(size, size // 4) for size in range(1_000, 5_000, 10)]
    odd = [(size, 100 * tokens) if number % 10 < 2 else (size, tokens) for number, (size, tokens) in enumerate(pairs)]
    assert fit_of(odd).line.at(4_000) == pytest.approx(1_000, rel=0.02)


def test_the_priors_are_examined_beside() -> None:
    assert fit_of((size, size // 2) for size in range(1_000, 5_000, 10)).prior_error == 460


def test_of_all_scripts_what_is_learned_is_how_many_times_the_priors() -> None:
    fit = fit_of(((size, 3 * size // 8) for size in range(800, 8_000, 80)), script="")
    assert (fit.line, fit.error) == (Line(0, 1_500_000), 0)


def test_sizes_that_hardly_differ_tell_no_slope() -> None:
    """A line that fits them would be far off for a call of another size."""
    assert fit_of((size, 250 + size % 2) for size in range(1_000, 1_100)).line.at(10_000) == pytest.approx(
        2_400, rel=0.1
    )


def test_sizes_that_never_differ_teach_what_they_can() -> None:
    assert fit_of([(1_000, 250)] * 40).line.at(1_000) == 250
    assert fit_of([(1_000, 0)] * 40).line.at(1_000) == 0


def test_too_few_calls_teach_nothing() -> None:
    pairs = [(size, size // 4) for size in range(1_000, 5_000, 10)]
    assert fitted(GLM, lessons(pairs[: ENOUGH - 1])) is None
    assert fitted(GLM, lessons(pairs[:ENOUGH])) is not None
    assert fitted(GLM, [each for each in lessons(pairs) if not each.examines]) is None


def test_answers_are_half_at_most_the_median_and_19_of_20_at_most_the_high() -> None:
    assert sized(range(1, 101)) == (Sizes(50, 95), 100)
    assert sized(range(ENOUGH - 1)) is None


def test_a_world_with_known_ratios_is_learned_from_the_books(books: Books) -> None:
    learned = taught(books, world(400, per_byte=0.3, fixed=40, noise=0.1))
    told = estimate(learned, provider="wcode", model="z-ai/glm-5", endpoint=CHAT, script="cjk", bytes_in=10_000,
                    stream=True, bytes_out=25_000)  # fmt: skip
    assert told.input_tokens == pytest.approx(3_040, rel=0.03)
    assert told.output_tokens == pytest.approx(100, abs=1)
    assert told.basis == "model and script"
    with reading(books.engine) as conn:
        fits = {each.place: each.fit for each in known(conn)}
    assert fits[GLM._replace(script="cjk")].error == pytest.approx(50, abs=15)
    assert fits[GLM._replace(script="cjk")].high_error == pytest.approx(90, abs=15)


def test_scripts_streams_and_endpoints_are_learned_apart(books: Books) -> None:
    escaped = world(100, per_byte=0.1, first=500, script="escaped-cjk", stream=False)
    messages = world(100, first=900, endpoint="messages")
    learned = taught(books, [*world(100, per_byte=0.3), *escaped, *messages])
    answers = {(place.endpoint, place.stream) for place in learned.lines if place.endpoint and place.model}
    assert answers == {(CHAT, True), (CHAT, False), ("messages", True)}
    assert learned.lines[GLM._replace(script="escaped-cjk")].at(10_000) == pytest.approx(1_000, rel=0.01)
    assert learned.lines[GLM._replace(script="cjk")].at(10_000) == pytest.approx(2_750, rel=0.15)


def test_the_name_in_the_request_is_learned_as_well_as_the_one_in_the_answer(books: Books) -> None:
    learned = taught(books, world(50, response_model="glm-5-20260212"))
    assert {place.model for place in learned.lines} == {"z-ai/glm-5", "glm-5-20260212", ""}


def test_only_what_a_provider_stated_of_a_finished_call_teaches(books: Books) -> None:
    stated = world(6 * ENOUGH, per_byte=0.5)
    partial = stated[0].usage._replace(source=UsageSource.PARTIAL)
    others: list[dict[str, object]] = [
        {"outcome": Outcome.FAILED},
        {"outcome": Outcome.INTERRUPTED},
        {"usage": partial},
        {"usage": Usage()},
        {"endpoint": "batches"},
        {"script": None},
    ]
    some = [replace(call, **others[number % 6]) for number, call in enumerate(stated)]  # type: ignore[arg-type]
    assert taught(books, some) == NOTHING


def test_keys_whose_answers_are_known_have_sizes_of_their_own(books: Books) -> None:
    short = world(40, key_fingerprint="c3" * 32, key_last4="c3c3")
    short = [replace(call, usage=used(100, 7)) for call in short]
    learned = taught(books, [*short, *world(40, first=100), *world(ENOUGH - 1, first=300, key_fingerprint="d4" * 32)])
    assert learned.sizes["wcode", "z-ai/glm-5", "c3" * 32, "*"] == Sizes(7, 7)
    assert ("wcode", "z-ai/glm-5", "a1" * 32, "*") in learned.sizes
    assert ("wcode", "z-ai/glm-5", "d4" * 32, "*") not in learned.sizes
    assert learned.sizes["wcode", "z-ai/glm-5", "", "*"].median < 200


def test_answers_are_learned_by_reasoning_effort_and_of_all_efforts_together(books: Books) -> None:
    """For each key and for all of them; an effort that was seen too seldom is among all of them alone."""
    hard = [replace(call, effort="high", usage=used(100, 5_000)) for call in world(40)]
    easy = [replace(call, effort="low", usage=used(100, 50)) for call in world(60, first=100)]
    rare = world(ENOUGH - 1, first=200, effort="max")
    named_none = [replace(call, usage=used(100, 300)) for call in world(30, first=300)]
    sizes = taught(books, [*hard, *easy, *rare, *named_none]).sizes
    by_effort = {"high": Sizes(5_000, 5_000), "low": Sizes(50, 50), "": Sizes(300, 300)}
    for key in ("", "a1" * 32):
        known = {effort: found for (*_, of, effort), found in sizes.items() if of == key}
        assert known.pop("*").high == 5_000
        assert known == by_effort


def test_an_effort_by_the_name_that_stands_for_all_counts_once(books: Books) -> None:
    taught(books, world(40, effort="*"))
    assert {(row["effort"], row["calls"]) for row in books.rows(answer_sizes)} == {("*", 40)}


def test_the_snapshot_of_a_host_stays_in_its_bounds_however_many_models_keys_and_efforts_there_are(
    books: Books,
) -> None:
    lines = [{"provider": "a-provider.example.com", "model": f"{'m' * 60}-{number}", "endpoint": "chat/completions",
              "stream": True, "script": "escaped-cjk", "fixed": -(10**6), "per_million": 10**7, "calls": 20,
              "examined": 10, "error": 1, "high_error": 2, "bias": 3, "prior_error": 4, "learned_at": NOON}
             for number in range(MOST_LINES + 1)]  # fmt: skip
    sizes = [{"provider": "a-provider.example.com", "model": f"{'m' * 60}-{number}", "key_id": key, "effort": effort,
              "calls": 20, "median_tokens": 10**5, "high_tokens": 10**6, "learned_at": NOON}
             for number in range(MOST_LINES // 4) for key in (0, 1) for effort in ("*", "", "high")]  # fmt: skip
    books.deliver(*world(1))
    transact(books.engine, lambda conn: conn.execute(sa.insert(estimate_lines), lines))
    transact(books.engine, lambda conn: conn.execute(sa.insert(answer_sizes), sizes))
    found = snapshot(books)
    assert (len(found.lines), len(found.sizes)) == (MOST_LINES, MOST_LINES)
    assert len(found.encode()) < MAX_BYTES


def test_embeddings_teach_no_output(books: Books) -> None:
    usage = Usage(500, None, None, 0, source=UsageSource.PROVIDER)
    learned = taught(books, world(50, endpoint="embeddings", usage=usage))
    assert {place.endpoint for place in learned.lines} == {""}
    assert learned.sizes == {}


def test_the_same_books_teach_the_same(new_books: NewBooks) -> None:
    some = world(300, noise=0.3)
    one, other = new_books(), new_books()
    assert taught(one, some) == taught(other, some[::-1])
    before = one.rows(estimate_lines), one.rows(answer_sizes)
    learn(one.engine, lambda: LATER)
    assert (one.rows(estimate_lines), one.rows(answer_sizes)) == before


def test_a_run_looks_at_so_many_of_the_newest_calls_and_no_more(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "PAGE", 10)
    monkeypatch.setattr(learning, "MOST_CALLS", 60)
    learned = taught(books, [*world(200, per_byte=0.9), *world(60, per_byte=0.2, first=300)])
    assert learned.lines[GLM._replace(script="cjk")].at(10_000) == pytest.approx(2_000, rel=0.01)
    with books.asked() as asked:
        assert learn(books.engine, lambda: LATER).calls == 60
    pages = [(statement, values) for statement, values in asked if "calls.id" in statement]
    assert len(pages) == 6
    plan = "\n".join(books.plan(*pages[1]))
    assert "calls" in plan
    assert "SCAN calls USING INDEX" in plan or "SEARCH calls USING INDEX" in plan or "Index Scan" in plan


def test_one_model_in_the_crowd_is_learned_from_so_many_calls(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "MOST_OF_A_MODEL", 30)
    for some in (world(100), world(100, first=500, request_model="rare")):
        books.deliver(*some)
    assert learn(books.engine, lambda: LATER).calls == 60


def test_a_model_that_is_not_called_any_more_is_remembered_and_in_the_end_forgotten(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "PAGE", 50)
    monkeypatch.setattr(learning, "MOST_CALLS", 50)
    once = taught(books, world(50, request_model="once"))
    now = taught(books, world(50, first=500), LATER + KEPT)
    assert {place.model for place in now.lines} == {"once", "z-ai/glm-5", ""}
    assert now.lines[Place("wcode", "once", script="cjk")] == once.lines[Place("wcode", "once", script="cjk")]
    learn(books.engine, lambda: LATER + KEPT + timedelta(seconds=1))
    assert {place.model for place in snapshot(books).lines} == {"z-ai/glm-5", ""}


def test_a_run_that_was_stopped_half_way_leaves_what_was_learned_before(books: Books) -> None:
    before = taught(books, world(50, per_byte=0.2))
    books.deliver(*world(50, per_byte=0.4, first=500))
    books.fail(answer_sizes)
    with pytest.raises(DBAPIError):
        learn(books.engine, lambda: LATER)
    assert snapshot(books) == before
    books.mend(answer_sizes)
    learn(books.engine, lambda: LATER)
    assert snapshot(books) != before


def test_the_scheduler_learns_once_an_hour(books: Books) -> None:
    (job,) = [job for job in JOBS if job.name == "estimates"]
    books.deliver(*world(50))
    first = ring(Desk(books.engine, books.url, lambda: LATER), job)
    assert first is not None
    assert (first.state, first.detail) == ("done", "learned from 50 calls")
    assert ring(Desk(books.engine, books.url, lambda: LATER + timedelta(minutes=59)), job) is None
    assert ring(Desk(books.engine, books.url, lambda: LATER + timedelta(minutes=60)), job) is not None


def test_models_of_which_nothing_is_learned_yet_are_named_with_what_would_teach(books: Books) -> None:
    taught(books, [*world(50), *world(3, first=100, request_model="rare")])
    others: list[dict[str, object]] = [
        {"outcome": Outcome.FAILED}, {"outcome": Outcome.INTERRUPTED}, {"usage": Usage()}, {"bytes_in": 0},
    ]  # fmt: skip
    teach_nothing = world(8, first=200, request_model="rare")
    books.deliver(*(replace(call, **others[at % 4]) for at, call in enumerate(teach_nothing)))  # type: ignore[arg-type]
    books.deliver(*world(30, first=400, request_model="not yet"))
    with reading(books.engine) as conn:
        assert unlearned(conn) == [("wcode", "not yet", 30), ("wcode", "rare", 3)]


def test_models_that_can_never_be_learned_from_are_not_named(books: Books) -> None:
    parent = made(number=1, script="latin", bytes_in=100)
    books.deliver(parent, *(made(number=number, parent_id=parent.id, request_model="advisor") for number in (2, 3)),
                  *world(3, first=100, request_model="whisper", endpoint="audio/transcriptions"))  # fmt: skip
    with reading(books.engine) as conn:
        assert unlearned(conn) == [("wcode", "z-ai/glm-5", 1)]


def test_what_is_not_learned_yet_is_found_among_so_many_of_the_newest_calls(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "MOST_CALLS", 10)
    books.deliver(*world(200))
    with books.asked() as asked, reading(books.engine) as conn:
        assert unlearned(conn) == [("wcode", "z-ai/glm-5", 10)]
    ((statement, values),) = [each for each in asked if "estimate_lines" in each[0]]
    plan = "\n".join(books.plan(statement, values))
    assert "SCAN calls USING INDEX" in plan or "Index Scan" in plan


def test_a_snapshot_of_some_models_has_what_any_estimate_of_them_needs(books: Books) -> None:
    whole = taught(
        books, [*world(50), *world(50, first=100, request_model="other"), *world(50, first=200, provider="x")]
    )
    with reading(books.engine) as conn:
        some = learning.snapshot(conn, {("wcode", "z-ai/glm-5")})
    assert {(place.provider, place.model) for place in some.lines} == {("wcode", "z-ai/glm-5"), ("wcode", "")}
    assert some.lines.items() < whole.lines.items()


def test_two_hosts_fetch_the_same_from_their_store(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = taught(books, world(50))
    for host in ("one", "two"):
        monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path / host))
        destination = StoreDestination(books.url)
        snapshots.refresh(snapshots.file_of(books.url), destination.estimates, datetime.now(UTC).timestamp())
        destination.close()
        assert snapshots.Local(snapshots.file_of(books.url)).snapshot() == learned


def test_a_store_that_has_learned_nothing_has_nothing_to_fetch(books: Books) -> None:
    destination = StoreDestination(books.url)
    assert destination.estimates() is None
    destination.close()


def test_a_snapshot_stays_small_and_holds_the_newest(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    taught(books, world(50, request_model="old"))
    monkeypatch.setattr(learning, "MOST_LINES", 3)
    monkeypatch.setattr(learning, "MOST_CALLS", 0)
    with reading(books.engine) as conn:
        assert len(learning.snapshot(conn).lines) == 3
        assert len(learning.snapshot(conn, {("wcode", "old")}).lines) > 3


def cut(number: int, **changes: object) -> Call:
    call = made(NOON + timedelta(hours=2), number, outcome=Outcome.INTERRUPTED, stream=True, script="cjk",
                bytes_in=10_000, bytes_out=50_000, usage=Usage())  # fmt: skip
    return replace(call, **changes)  # type: ignore[arg-type]


def stamped(books: Books) -> dict[int, tuple[int | None, int | None]]:
    """Estimates of the calls that were cut, by their numbers."""
    rows = [row for row in books.rows(calls) if row["started_at"] > LATER]
    return {row["id"].int & 0xFFFF: (row["estimated_input_tokens"], row["estimated_output_tokens"]) for row in rows}


def test_calls_are_stamped_on_their_way_in_with_what_they_likely_used(books: Books) -> None:
    by_priors = priors().tokens(GLM._replace(script="cjk"), 10_000)
    books.deliver(cut(1))
    taught(books, world(100, per_byte=0.3))
    never = {"outcome": Outcome.UNKNOWN, "bytes_out": 0, "max_tokens": 5}
    books.deliver(cut(2), cut(3, **never), cut(4, outcome=Outcome.FAILED), cut(5, usage=used(10_000, 50)))
    partial = Usage(2_900, None, None, 20, source=UsageSource.PARTIAL)
    books.deliver(cut(6, usage=partial), cut(7, endpoint="batches"))
    found = stamped(books)
    assert found[1][0] == by_priors
    assert found[2] == (3_000, 200)
    assert found[3] == (3_000, 5)
    assert found[4] == found[5] == found[7] == (None, None)
    assert found[6] == (None, 180)


def test_an_estimate_is_stamped_once_and_a_later_outcome_takes_it_back(books: Books) -> None:
    books.deliver(cut(1), cut(2))
    first = stamped(books)
    taught(books, world(100, per_byte=0.9))
    books.deliver(cut(1))
    assert stamped(books) == first
    books.deliver(cut(2, outcome=Outcome.FINISHED, usage=used(2_000, 190)))
    assert stamped(books) == {1: first[1], 2: (None, None)}


def test_estimates_stand_beside_sums_and_never_in_them(new_books: NewBooks) -> None:
    """What was spent is the same whatever was learned, and the same as if nothing were estimated."""
    some = [*world(60), *(cut(number) for number in range(1, 9)), cut(9, outcome=Outcome.UNKNOWN, bytes_out=0)]
    unlearned_, learned = new_books(), new_books()
    taught(learned, world(100, per_byte=0.9, first=2_000, project="apart"))
    for books in (unlearned_, learned):
        books.deliver(*some)
        books.roll()
    assert stamped(unlearned_) != stamped(learned)
    ours = [
        [line for line in books.spend("project").lines if line.group == "checkout"] for books in (unlearned_, learned)
    ]
    assert len(ours[0]) == 1
    assert ours[0][0].spent
    assert (ours[0][0].spent, ours[0][0].quantities) == (ours[1][0].spent, ours[1][0].quantities)
    assert ours[0][0].quantities.input == sum(call.usage.input_tokens or 0 for call in some)


def test_calls_with_usage_ask_for_no_estimates(books: Books) -> None:
    with books.asked() as asked:
        books.deliver(*world(50), made(number=1, usage=Usage(), outcome=Outcome.FAILED))
    assert not [statement for statement, _ in asked if "estimate_lines" in statement]
    with books.asked() as asked:
        books.deliver(cut(1), cut(2))
    assert len([statement for statement, _ in asked if "FROM estimate_lines" in statement]) == 1
