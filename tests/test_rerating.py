"""Calls in the books are priced again: by what holds for them now, each once, and the sums follow."""

import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting import periods, ratebook, rerating, stamps
from accounting import restate as restating
from accounting.aliases import Rule
from accounting.errors import ConfigurationError
from accounting.ingest import ingest
from accounting.rerating import Recost, Rerated, Which, price_arrivals, rerate
from accounting.store import aliaslines, reading, tables, writing
from accounting.store.tables import calls, restated_calls, restatements, spend_days, store
from accounting.usage import Call
from accounting.verify import verify
from tests.books import NOON, Books, Journal, at, made, used
from tests.full_books import contents
from tests.plans import plans
from tests.spending import rolled_anew, spending

ALL = Which(model="*")
LATER = NOON + timedelta(hours=1)
WHO = "ann@desk"
SECOND = timedelta(seconds=1)
USUAL = ("0.011", "0.035")


def line(valid_from: str = "2026-03-01", model: str = "z-ai/glm-5", rest: str = "", **prices: str) -> str:
    """A card of one line, twice as dear as the shipped one where nothing is said."""
    said = {"input": "0.022", "output": "0.07"} | prices
    head = 'provider = "wcode"\ncurrency = "CNY"\nsource = "list of today"\n[[rate]]\n'
    wanted = "".join(f"{name} = {price}\n" for name, price in said.items())
    return f'{head}model = "{model}"\nvalid_from = {valid_from}\n{wanted}{rest}\n'


def clock() -> datetime:
    return LATER


def again(books: Books, which: Which = ALL, **options: Any) -> Rerated:
    return rerate(books.engine, which, clock, WHO, "the list was wrong", **options)


def rate_ids(books: Books) -> list[int]:
    return [row["rate_id"] for row in sorted(books.rows(calls), key=lambda row: row["id"].int)]


def newest_rate(books: Books) -> int:
    return max(int(row["id"]) for row in books.rows(tables.rates))


def withdraw(books: Books, ids: Collection[int]) -> None:
    with writing(books.engine) as conn:
        ratebook.withdraw(conn, ids, LATER, WHO, "a mistake")


def alias(books: Books, pattern: str, target: str) -> None:
    with writing(books.engine) as conn:
        aliaslines.append(conn, [Rule("wcode", pattern, target)], NOON, WHO)
        ratebook.new_edition(conn)


def editions(books: Books) -> tuple[int, int]:
    (row,) = books.rows(store)
    return row["rates_edition"], row["priced_edition"]


def balanced(books: Books) -> bool:
    return not verify(books.engine).differences


def test_a_call_gets_the_rate_that_holds_now_and_the_log_keeps_the_one_it_had(books: Books) -> None:
    books.deliver(made(number=1), made(number=2, project="search"))
    books.roll()
    books.load(line())
    done = again(books)
    assert (done.done.seen, done.done.changed, done.done.recosted) == (2, 2, 2)
    assert (done.done.before, done.done.after) == ({"CNY": Decimal("0.036")}, {"CNY": Decimal("0.072")})
    assert rate_ids(books) == [newest_rate(books)] * 2
    assert [row["before"] for row in books.rows(restated_calls)] == [{"rate_id": 1}] * 2
    (log,) = books.rows(restatements)
    assert [log[name] for name in ("kind", "who", "why", "ended_at")] == ["rerated", WHO, "the list was wrong", LATER]
    assert spending(books) == rolled_anew(books)
    assert balanced(books)


def test_a_dry_run_says_the_same_by_project_month_and_currency_and_changes_nothing(books: Books) -> None:
    books.deliver(
        made(at("2026-10-31 12:00"), 1),
        made(number=2),
        made(number=3, project="search"),
        made(number=4, request_model="nobody/knows"),
    )
    books.roll()
    books.load(line() + '[[rate]]\nmodel = "nobody/knows"\nvalid_from = 2026-01-01\ninput = 1\noutput = 0\n')
    before = contents(books.url)
    would = again(books, dry_run=True)
    assert contents(books.url) == before
    one, two = Decimal("0.018"), Decimal("0.036")
    october, november = date(2026, 10, 1), date(2026, 11, 1)
    assert would.recosts == (
        Recost("checkout", october, "CNY", 1, 1, one, two),
        Recost("checkout", november, "", 1, 0, Decimal(0), Decimal(0)),
        Recost("checkout", november, "CNY", 1, 2, one, two + 1),
        Recost("search", november, "CNY", 1, 1, one, two),
    )
    assert (would.unpriced_before, would.unpriced_after) == (1, 0)
    assert again(books) == would


def test_currencies_are_told_apart(books: Books) -> None:
    books.deliver(made())
    books.load(line().replace("CNY", "USD"))
    done = again(books)
    assert (done.done.before, done.done.after) == ({"CNY": Decimal("0.018")}, {"USD": Decimal("0.036")})
    assert [(one.currency, one.calls_before, one.calls_after) for one in done.recosts] == [("CNY", 1, 0), ("USD", 0, 1)]


def test_where_all_is_as_it_should_be_nothing_changes(books: Books) -> None:
    books.deliver(made(number=1), made(number=2, request_model="nobody/knows"))
    books.roll()
    before = books.rows(calls), spending(books)
    assert again(books).done.changed == 0
    assert (books.rows(calls), spending(books)) == before


def test_a_price_change_splits_a_day_to_the_microsecond(books: Books) -> None:
    change = at("2026-11-23 15:00")
    tick = timedelta(microseconds=1)
    books.deliver(*(made(change + n * tick, 10 + n) for n in range(-2, 3)))
    books.roll()
    books.load(line("2026-11-23T15:00:00Z"))
    new = newest_rate(books)
    assert again(books).done.changed == 3
    assert rate_ids(books) == [1, 1, new, new, new]
    amounts = {row["rate_id"]: (row["calls"], row["amount"]) for row in books.rows(spend_days)}
    assert amounts == {1: (2, Decimal("0.036")), new: (3, Decimal("0.108"))}


@pytest.mark.parametrize(
    ("which", "numbers"),
    [
        (Which(model="z-ai/glm-5"), [1, 2, 4]),  # 2 is priced as that
        (Which(model="glm-five"), [2]),
        (Which(model="*glm*"), [1, 2, 4]),
        (Which(model="*GLM*"), []),
        (Which(model="other"), [3]),
        (Which(provider="wcode"), [1, 2, 3]),
        (Which(provider="elsewhere"), [4]),
        (Which(provider="elsewhere", model="other"), []),
        (Which(), [1, 2, 3, 4]),
        (Which(model="nothing"), []),
    ],
)
def test_a_call_is_meant_by_the_name_it_gave_or_one_that_its_aliases_lead_to(
    books: Books, which: Which, numbers: list[int]
) -> None:
    alias(books, "glm-five", "z-ai/glm-5")
    books.deliver(
        made(number=1),
        made(number=2, request_model="glm-five"),
        made(number=3, request_model="other"),
        made(number=4, provider="elsewhere"),
    )
    assert again(books, which, dry_run=True).done.seen == len(numbers)
    books.roll()
    assert again(books, which, dry_run=True).done.seen == len(numbers)


def test_a_span_takes_the_calls_that_began_in_it_and_no_others(books: Books) -> None:
    books.deliver(*(made(NOON + n * SECOND, 10 + n) for n in range(-2, 3)))
    books.load(line())
    new = newest_rate(books)
    assert again(books, replace(ALL, first=NOON, end=NOON + 2 * SECOND)).done.changed == 2
    assert rate_ids(books) == [1, 1, new, new, 1]


CARDS = st.lists(
    st.builds(
        line,
        valid_from=st.sampled_from(("2026-11-22", "2026-11-23", "2026-11-23T12:00:00Z")),
        model=st.sampled_from(("z-ai/glm-5", "*", "nobody/*")),
        rest=st.sampled_from(("", "context_above = 500\n", 'service_tier = "batch"\n', "image = 0.5\n")),
        input=st.sampled_from(("0.000000001", "0.011", "7")),
    ),
    min_size=1,
    max_size=3,
    # an image's price is no condition: a line with one and a line without contradict each other
    unique_by=lambda card: (card.split("input")[0], card.split("output")[1].replace("image = 0.5\n", "")),
)
SOME = st.lists(
    st.builds(
        lambda minutes, **rest: made(NOON + timedelta(minutes=minutes), **rest),
        minutes=st.integers(-900, 900),
        number=st.integers(1, 10**6),
        request_model=st.sampled_from(("z-ai/glm-5", "nobody/knows")),
        project=st.sampled_from(("checkout", "search")),
        service_tier=st.sampled_from((None, "batch")),
        usage=st.sampled_from((used(1000, 200, read=300), used(10**12, 7), used(5, 6)._replace(images=2))),
        tags=st.sampled_from(({}, {"feature": "a"})),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda call: call.id,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some=SOME, cards=CARDS, rolled=st.integers(0, 8))
def test_forth_and_back_is_identity_and_each_way_the_books_are_as_if_made_so(
    books: Books, some: list[Call], cards: list[str], rolled: int
) -> None:
    journal = Journal(str(some))
    for part in (some[:rolled], some[rolled:]):
        if part:
            ingest(books.engine, journal.batch(*part), NOON)
            books.roll() if part is some[:rolled] else None
    again(books)
    before, upto = _but_for_the_log(books), newest_rate(books)
    for card in cards:
        books.load(card)
    forth = again(books)
    assert balanced(books)
    withdraw(books, range(upto + 1, newest_rate(books) + 1))
    back = again(books)
    assert (back.done.before, back.done.after) == (forth.done.after, forth.done.before)
    assert (back.done.changed, back.done.costs_before) == (forth.done.changed, forth.done.costs_after)
    assert _but_for_the_log(books) == before
    assert balanced(books)
    books.roll()
    assert spending(books) == rolled_anew(books)


def _but_for_the_log(books: Books) -> dict[str, list[dict[str, object]]]:
    """Every row but those that say what was done when, and the lines that came and went."""
    left_out = ("restatements", "restated_calls", "rates", "store")
    return {name: rows for name, rows in contents(books.url).items() if name not in left_out}


KILLED = """
import os, sys
from accounting import restate
from accounting.store import open_engine
from tests.test_rerating import ALL, WHO, clock, rerate

restate.CALLS_AT_ONCE = dict.fromkeys(restate.CALLS_AT_ONCE, 2)
steps, last, moment = 0, int(sys.argv[2]), sys.argv[3]
rewrite = restate._rewrite

def die(at):
    if (steps, moment) == (last, at):
        os.kill(os.getpid(), 9)

def killed(*args):
    global steps
    steps += 1
    die("before")
    done = rewrite(*args)
    die("after")  # before the commit
    return done

restate._rewrite = killed
rerate(open_engine(sys.argv[1]), ALL, clock, WHO, "the list was wrong")
"""


def test_killed_again_and_again_it_comes_to_the_same(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restating, "CALLS_AT_ONCE", dict.fromkeys(restating.CALLS_AT_ONCE, 2))
    books.deliver(*(made(number=number) for number in range(9)))
    books.roll()
    books.load(line())
    for moment in (("2", "before"), ("1", "before"), ("1", "after"), ("2", "after")):
        assert subprocess.run([sys.executable, "-c", KILLED, books.url, *moment]).returncode == -9
        assert balanced(books)
    assert 0 < rate_ids(books).count(newest_rate(books)) < 9
    done = again(books)
    assert (done.done.seen, done.done.changed, done.done.after) == (5, 5, {"CNY": Decimal("0.18")})
    assert (done.done.seen_earlier, done.done.changed_earlier) == (4, 4)
    assert [(row["seen"], row["changed"]) for row in books.rows(restatements)] == [(9, 9)]
    assert [row["before"] for row in books.rows(restated_calls)] == [{"rate_id": 1}] * 9
    assert spending(books) == rolled_anew(books)


class Stop(Exception):
    """Ctrl-C between two steps."""


def stop(after: int) -> Any:
    def progress(done: Any) -> None:
        if done.seen >= after:
            raise Stop

    return progress


def test_what_was_begun_by_former_rates_is_not_gone_on_with(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restating, "CALLS_AT_ONCE", dict.fromkeys(restating.CALLS_AT_ONCE, 2))
    books.deliver(*(made(number=number) for number in range(6)))
    books.load(line())
    with pytest.raises(Stop):
        again(books, progress=stop(2))
    books.load(line("2026-03-02", input="0.5"))
    assert again(books).done.changed == 6
    assert set(rate_ids(books)) == {newest_rate(books)}
    assert [(row["changed"], row["ended_at"]) for row in books.rows(restatements)] == [(2, LATER), (6, LATER)]


def test_rates_that_change_meanwhile_are_said_to_have(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restating, "CALLS_AT_ONCE", dict.fromkeys(restating.CALLS_AT_ONCE, 1))
    books.deliver(made(number=1), made(number=2), made(number=3))
    books.load(line())
    first, dearer = newest_rate(books), line("2026-03-02", input="0.5")
    done = again(books, progress=lambda done: books.load(dearer) if done.seen == 1 else None)
    assert done.overtaken
    assert rate_ids(books) == [first, newest_rate(books), newest_rate(books)]
    assert not again(books).overtaken
    assert set(rate_ids(books)) == {newest_rate(books)}


def test_calls_that_come_in_meanwhile_and_a_second_hand_leave_the_books_in_balance(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restating, "CALLS_AT_ONCE", dict.fromkeys(restating.CALLS_AT_ONCE, 10))
    journals = [Journal(name) for name in "ab"]
    some = [[made(number=100 * j + n, tags={"feature": "a"}) for n in range(60)] for j in range(2)]
    for journal, theirs in zip(journals, some, strict=True):
        ingest(books.engine, journal.batch(*theirs[:30]), NOON)
    books.roll()
    books.load(line())

    def deliver(which: int) -> None:
        for first in range(30, 60, 5):
            ingest(books.engine, journals[which].batch(*some[which][first : first + 5]), NOON)
            books.roll()

    with ThreadPoolExecutor(4) as pool:
        futures: list[Future[Any]] = [pool.submit(deliver, which) for which in range(2)]
        futures += [pool.submit(again, books) for _ in range(2)]
        for done in futures:
            done.result()
    books.roll()
    assert rate_ids(books) == [newest_rate(books)] * 120
    assert len(books.rows(restated_calls)) == 60
    assert spending(books) == rolled_anew(books)
    assert balanced(books)


def test_calls_without_a_rate_are_priced_once_one_arrives(books: Books) -> None:
    books.deliver(made(number=1, request_model="nobody/knows"), made(number=2), made(number=3, request_model="other"))
    books.roll()
    assert price_arrivals(books.engine, clock, WHO) is None or not books.rows(restatements)
    books.load(line(model="nobody/*"))
    books.load(line())  # calls that have a rate stay with it
    done = price_arrivals(books.engine, clock, WHO)
    assert done is not None
    assert (done.done.changed, done.done.before, done.done.after) == (1, {}, {"CNY": Decimal("0.036")})
    assert sorted(rate_ids(books))[:2] == [0, 1]
    (log,) = books.rows(restatements)
    assert log["why"] == "There are rates now: wcode/nobody/* from 2026-03-01 00:00Z."
    assert editions(books)[0] == editions(books)[1]
    assert price_arrivals(books.engine, clock, WHO) is None
    assert spending(books) == rolled_anew(books)
    assert balanced(books)


def test_an_alias_that_arrives_prices_calls_too(books: Books) -> None:
    books.deliver(made(request_model="glm-five"))
    alias(books, "glm-five", "z-ai/glm-5")
    done = price_arrivals(books.engine, clock, WHO)
    assert done is not None
    assert done.done.after == {"CNY": Decimal("0.018")}


def test_a_rate_that_holds_for_none_of_them_leaves_no_trace(books: Books) -> None:
    books.deliver(made(request_model="nobody/knows"))
    books.load(line("2026-12-01", model="nobody/knows"))
    done = price_arrivals(books.engine, clock, WHO)
    assert done is not None
    assert done.done.changed == 0
    assert books.rows(restatements) == []


def test_calls_that_stay_unpriced_are_looked_at_once_however_often_it_is_stopped(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restating, "CALLS_AT_ONCE", dict.fromkeys(restating.CALLS_AT_ONCE, 2))
    books.deliver(*(made(number=number, request_model="one") for number in range(9)))
    books.deliver(*(made(number=number, request_model="two") for number in range(10, 13)))
    books.load(line(model="one", rest='service_tier = "batch"'))
    books.load(line(model="two"))
    for left in (3, 3, 0):  # 4 calls each: 9 of one, and 3 of two
        with pytest.raises(Stop):
            price_arrivals(books.engine, clock, WHO, stop(4))
        assert rate_ids(books)[-3:].count(0) == left
    price_arrivals(books.engine, clock, WHO)
    assert editions(books)[0] == editions(books)[1]
    assert [(row["what"]["model"], row["changed"]) for row in books.rows(restatements)] == [("two", 3)]
    assert balanced(books)


def test_a_rate_that_arrives_while_others_are_applied_is_left_to_the_next_run(books: Books) -> None:
    books.deliver(made(number=1, request_model="one"), made(number=2, request_model="two"))
    books.load(line(model="two"))
    price_arrivals(books.engine, clock, WHO, lambda _: books.load(line(model="one")))
    assert editions(books)[0] > editions(books)[1]
    price_arrivals(books.engine, clock, WHO)
    assert 0 not in rate_ids(books)
    assert editions(books)[0] == editions(books)[1]


def test_pricing_that_was_stopped_goes_on_and_is_one_restatement(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restating, "CALLS_AT_ONCE", dict.fromkeys(restating.CALLS_AT_ONCE, 2))
    books.deliver(*(made(number=number, request_model="nobody/knows") for number in range(5)))
    books.roll()
    books.load(line(model="nobody/knows"))
    with pytest.raises(Stop):
        price_arrivals(books.engine, clock, WHO, stop(2))
    assert rate_ids(books).count(0) == 3
    assert editions(books)[0] > editions(books)[1]
    price_arrivals(books.engine, clock, WHO)
    assert 0 not in rate_ids(books)
    assert [(row["changed"], row["ended_at"]) for row in books.rows(restatements)] == [(5, LATER)]
    assert balanced(books)


def test_a_rare_model_is_looked_for_in_its_own_days(books: Books) -> None:
    books.deliver(made(number=1), made(at("2026-10-05"), 2, request_model="rare"))
    books.roll()
    books.deliver(made(at("2026-10-06"), 3, request_model="rare"))
    rare = Which(model="rare")
    with books.asked() as statements:
        assert again(books, rare, dry_run=True).done.seen == 2
    looked = [one for one, _ in statements if "FROM calls" in one and "LIMIT" in one]
    assert "calls.id >=" in looked[0]
    assert all("calls.id <" in one for one in looked)
    asked = plans(books.engine, lambda conn: rerating.models(conn, rare))
    assert "ix_batches_unrolled" in asked[0]
    assert "ix_calls_batch_id" in asked[0]


def test_a_zone_that_a_host_does_not_know_keeps_no_other_model_from_being_priced(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.deliver(*(made(number=number, request_model=model) for number, model in enumerate(("one", "two"), 1)))
    books.load(line(model="one", rest='hours = "08:00-20:00 Asia/Kathmandu"'))
    books.load(line(model="two"))
    here = periods.zone
    with monkeypatch.context() as patch:
        patch.setattr(periods, "zone", lambda name: here(name if name != "Asia/Kathmandu" else "Nowhere"))
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="this host knows no zone Asia/Kathmandu"):
                price_arrivals(books.engine, clock, WHO)
            assert rate_ids(books) == [0, newest_rate(books)]
    price_arrivals(books.engine, clock, WHO)
    assert rate_ids(books) == [newest_rate(books) - 1, newest_rate(books)]


def test_calls_that_could_not_be_priced_through_a_fault_of_ours_are_priced_once_they_can(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    price_arrivals(books.engine, clock, WHO)
    with monkeypatch.context() as patch:
        patch.setattr(stamps, "_rates", lambda *_: None)
        books.deliver(made(number=1))
        books.deliver(made(number=1), made(number=2))  # of which one is there
    assert [row["anomalies"] for row in books.rows(calls)] == [["stamping_failed"]] * 2
    price_arrivals(books.engine, clock, WHO)
    assert rate_ids(books) == [1, 1]
    assert [row["anomalies"] for row in books.rows(calls)] == [[], []]
    assert price_arrivals(books.engine, clock, WHO) is None


def test_unpriced_calls_are_found_by_their_index(books: Books) -> None:
    books.deliver(made(number=1), made(number=2, request_model="nobody/knows"))
    found: list[tuple[rerating.Model, ...]] = []
    asked = plans(books.engine, lambda conn: found.append(rerating.models(conn, Which(unpriced_only=True))))
    assert found == [(("wcode", "nobody/knows"),)]
    assert sum("ix_calls_unpriced" in plan for plan in asked) == 2
    books.load(line(model="nobody/knows"))
    with books.asked() as statements:
        price_arrivals(books.engine, clock, WHO)
    of_calls = [one for one in statements if "rate_id = 0" in one[0] and "LIMIT" in one[0]]
    assert all("ix_calls_unpriced" in "\n".join(books.plan(*one)) for one in of_calls)
    with reading(books.engine) as conn:
        assert rerating.models(conn, Which(unpriced_only=True)) == ()


@pytest.mark.parametrize(
    ("meant", "is_over"),
    [
        (Which(), True),
        (Which(provider="elsewhere"), False),
        (Which(model="nobody/knows", first=at("2026-03-01")), True),
        (Which(model="nobody/knows", first=at("2026-03-02")), False),
        (Which(model="nobody/knows", end=NOON), False),  # the calls began then
    ],
)
def test_pricing_that_is_at_work_is_closed_by_nobody_who_did_not_do_all_of_it(
    books: Books, monkeypatch: pytest.MonkeyPatch, meant: Which, is_over: bool
) -> None:
    monkeypatch.setattr(restating, "CALLS_AT_ONCE", dict.fromkeys(restating.CALLS_AT_ONCE, 1))
    books.deliver(*(made(number=number, request_model="nobody/knows") for number in range(3)))
    books.load(line(model="nobody/knows"))
    meanwhile: list[Any] = []

    def progress(done: Any) -> None:
        if done.changed == 1 and not meanwhile:
            again(books, replace(meant, unpriced_only=True))
            meanwhile.extend(books.rows(restatements))

    price_arrivals(books.engine, clock, WHO, progress)
    assert bool(meanwhile[0]["ended_at"]) == is_over
    assert 0 not in rate_ids(books)
    assert all(row["ended_at"] for row in books.rows(restatements))


def test_pricing_by_newer_rates_is_not_closed_by_one_that_began_before(books: Books) -> None:
    books.deliver(made(number=1, request_model="one"), made(number=2, request_model="two"))
    books.load(line(model="two"))

    begun: list[int] = []

    def progress(_done: Any) -> None:
        if not begun:
            begun.append(1)
            books.load(line(model="one"))
            with pytest.raises(Stop):
                price_arrivals(books.engine, clock, WHO, stop(1))

    price_arrivals(books.engine, clock, WHO, progress)
    assert [row["ended_at"] for row in books.rows(restatements) if row["what"]["model"] == "one"] == [None]


def test_where_nothing_is_left_to_change_what_was_begun_of_these_calls_by_rates_up_to_these_is_ended(
    books: Books,
) -> None:
    books.deliver(made(number=1), made(number=2, request_model="other"))

    def interrupted(model: str) -> None:
        with pytest.raises(Stop):
            again(books, Which(model=model), progress=stop(1))

    def ended() -> list[bool]:
        return [row["ended_at"] is not None for row in sorted(books.rows(restatements), key=lambda row: row["id"])]

    interrupted("z-ai/glm-5")
    interrupted("other")
    would = again(books, Which(model="z-ai/glm-5"), dry_run=True)
    rerating.end_begun(books.engine, Which(model="z-ai/glm-5"), would, LATER)
    assert ended() == [True, False]
    books.load(line())
    interrupted("z-ai/glm-5")
    rerating.end_begun(books.engine, Which(model="z-ai/glm-5"), would, LATER)
    assert ended() == [True, False, False]


def test_calls_that_have_no_rate_afterwards_are_told_by_model(books: Books) -> None:
    books.deliver(
        made(NOON, 1),
        made(NOON, 2, request_model="one"),
        made(NOON + SECOND, 3, request_model="one"),
        made(NOON + SECOND, 4, request_model="two"),
    )
    books.load(line(model="one"))
    withdraw(books, {1})
    glm, one, two = (("wcode", name) for name in ("z-ai/glm-5", "one", "two"))
    for dry_run in (True, False):
        assert again(books, replace(ALL, end=NOON), dry_run=dry_run).unpriced == {}
        assert again(books, replace(ALL, first=NOON + SECOND), dry_run=True).unpriced == {two: 1}
        done = again(books, dry_run=dry_run)
        assert (done.unpriced, done.looked_at) == ({glm: 1, two: 1}, (one, two, glm))
    done = again(books, Which(unpriced_only=True), dry_run=True)
    assert (done.unpriced, two in done.looked_at) == ({glm: 1, two: 1}, False)
