"""What an import makes of the rate book: what is added, changed, gone and kept, and what is not its to change."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import ratebook, rateimports, stamps
from accounting.errors import RateCardError
from accounting.hours import hours
from accounting.periods import Period
from accounting.rateimports import Plan, Wanted, plan
from accounting.rates import Rate
from accounting.ratesources import LeftOut, Listing
from accounting.resolution import RateBook
from accounting.store import reading
from tests.books import NOON, Books, at

ALWAYS = at("2020-01-01")
LATER = NOON + timedelta(days=7)
EVERYTHING = Wanted()


def line(price: int = 2, model: str = "large", since: datetime = ALWAYS, **changes: object) -> Rate:
    rate = Rate(
        provider="acme",
        model=model,
        currency="USD",
        period=Period(since, None),
        input_per_1k=Decimal(price),
        output_per_1k=Decimal(10),
        source="list",
    )
    return replace(rate, **changes)  # type: ignore[arg-type]


def undated(*lines: Rate, left_out: Sequence[LeftOut] = ()) -> Listing:
    return Listing(frozenset(["list"]), lines, tuple(left_out), undated=True)


def dated(*lines: Rate) -> Listing:
    return Listing(frozenset(["list"]), lines)


class Held:
    """Lines in force, as imports change them."""

    def __init__(self, *lines: Rate) -> None:
        self.lines = [replace(rate, id=n) for n, rate in enumerate(lines, 1)]
        self._next = len(lines)

    def take(self, source: Listing, now: datetime = NOON, wanted: Wanted = EVERYTHING) -> Plan:
        made = plan(self.lines, source, now, wanted)
        gone = {rate.id for rate in made.withdrawn}
        left = [rate for rate in self.lines if rate.id not in gone]
        new = [replace(rate, id=self._next + n) for n, rate in enumerate(made.appended, 1)]
        self._next += len(new)
        self.lines = [*left, *new]
        RateBook(self.lines)  # raises where they contradict each other
        return made

    def price(self, when: datetime, tokens: int = 0, tier: str = "") -> Decimal | None:
        rate = RateBook(self.lines).find("acme", "large", when, tokens, tier)
        return None if rate is None else rate.input_per_1k


def test_what_is_new_is_added_from_the_day_it_bears() -> None:
    held = Held()
    made = held.take(undated(line(2), line(3, since=at("2026-06-01"))))
    assert (len(made.added), made.changed, made.gone, made.kept) == (2, (), (), 0)
    assert [held.price(at(day)) for day in ("2020-01-01", "2026-05-31", "2026-06-01")] == [2, 2, 3]


def test_the_same_once_more_is_nothing() -> None:
    source = undated(line(2), line(3, since=at("2026-06-01")), line(1, service_tier="batch"))
    held = Held()
    held.take(source)
    again = held.take(source, LATER)
    assert (again.is_nothing, again.kept) == (True, 3)


def test_a_price_without_a_date_changes_at_the_import_and_history_keeps_the_old_one() -> None:
    held = Held(line(2))
    made = held.take(undated(line(3)))
    assert [(change.at, change.was, change.now) for change in made.changed] == [
        (NOON, held.lines[0], line(3, since=NOON))
    ]
    assert (made.added, made.withdrawn) == ((), ())
    assert [held.price(NOON - timedelta(microseconds=1)), held.price(NOON)] == [2, 3]


def test_a_price_that_changes_twice_and_back_is_what_the_source_says_each_time() -> None:
    held = Held(line(2))
    days = [NOON + timedelta(days=n) for n in range(4)]
    for day, price in zip(days, (3, 4, 2, 2), strict=True):
        held.take(undated(line(price)), day)
    assert [held.price(day) for day in days] == [3, 4, 2, 2]
    assert held.price(NOON - timedelta(days=1)) == 2
    assert len(held.lines) == 4


def test_a_price_with_a_date_changes_on_it() -> None:
    held = Held(line(2))
    made = held.take(undated(line(2), line(5, since=at("2026-10-01"))))
    assert [(change.at, change.now) for change in made.changed] == [(at("2026-10-01"), made.appended[0])]
    assert [held.price(at("2026-09-30")), held.price(at("2026-10-01"))] == [2, 5]


def test_what_the_source_corrects_of_a_day_is_withdrawn_and_said_right() -> None:
    held = Held(line(2), line(5, since=at("2026-10-01")))
    made = held.take(undated(line(2), line(6, since=at("2026-10-01"))))
    assert ([rate.id for rate in made.withdrawn], len(made.appended)) == ([2], 1)
    (change,) = made.changed
    assert (change.at, change.was, change.now) == (at("2026-10-01"), made.withdrawn[0], made.appended[0])
    assert held.price(NOON) == 6


def test_a_day_to_come_that_the_source_takes_back_does_not_come() -> None:
    held = Held(line(2), line(5, since=LATER))
    made = held.take(undated(line(2)))
    assert [rate.valid_from for rate in made.withdrawn] == [LATER]
    assert held.price(LATER) == 2


def test_a_list_is_said_anew_where_one_of_its_prices_changes() -> None:
    """The newest line that fits holds, so a new one for all calls would hide the old one for much input."""
    held = Held(line(2), line(4, context_above=1000))
    made = held.take(undated(line(3), line(4, context_above=1000)))
    assert [change.now and change.now.context_above for change in made.changed] == [0]
    assert [held.price(NOON, 1000), held.price(NOON, 1001)] == [3, 4]


def test_a_condition_that_is_gone_from_a_list_holds_no_more() -> None:
    night = hours("22:00-06:00 UTC")
    held = Held(line(2), line(1, hours=night), line(4, context_above=1000))
    held_before = held.lines[1:]
    made = held.take(undated(line(2)))
    assert [(change.of, change.now) for change in made.changed] == [(old, made.appended[0]) for old in held_before]
    assert [held.price(LATER, 1001), held.price(LATER + timedelta(hours=12))] == [2, 2]
    assert held.price(NOON - timedelta(days=1), 1001) == 4


def test_a_condition_that_is_new_changes_what_such_calls_cost_before() -> None:
    held = Held(line(2))
    made = held.take(undated(line(2), line(4, context_above=1000)))
    assert [(change.of.context_above, change.was) for change in made.changed] == [(1000, held.lines[0])]


def test_what_is_said_anew_or_only_ends_is_no_new_price() -> None:
    """Somebody was asked about it when it came."""
    held = Held(line(2), line(4, context_above=1000))
    before = held.lines
    made = held.take(undated(line(3), line(4, context_above=1000)))
    assert len(made.appended) == 2
    assert [int(rate.input_per_1k) for rate in made.unheard(before)] == [3]
    before = held.lines
    made = held.take(undated(), LATER)
    assert made.appended
    assert made.unheard(before) == []


def test_what_is_gone_from_the_source_ends_at_the_import_and_stays_in_the_books() -> None:
    held = Held(line(2), line(3, since=at("2026-06-01")), line(7, "other"), line(9, since=LATER))
    made = held.take(undated(line(7, "other")))
    assert {rate.input_per_1k for rate in made.gone} == {3, 9}
    days = [at("2026-05-01"), NOON - timedelta(microseconds=1), NOON, LATER]
    assert [held.price(day) for day in days] == [2, 3, None, None]


def test_a_line_to_come_stays_where_the_one_that_holds_until_then_is_gone() -> None:
    held = Held(line(2, since=at("2026-06-01")), line(5, since=LATER))
    held.take(dated(line(5, since=LATER)))
    assert [held.price(day) for day in (NOON - timedelta(1), NOON, LATER)] == [2, None, 5]


def test_what_comes_back_holds_from_then_on() -> None:
    held = Held(line(2))
    held.take(undated())
    held.take(undated(line(2)), LATER)
    assert [held.price(day) for day in (NOON - timedelta(1), NOON, LATER)] == [2, None, 2]
    assert held.take(undated(line(2)), LATER + timedelta(days=1)).is_nothing


def test_what_comes_back_with_a_date_does_not_hold_while_it_was_gone() -> None:
    source = dated(line(2, since=at("2026-06-01")))
    held = Held(*source.lines)
    held.take(dated())
    held.take(source, LATER)
    assert [held.price(day) for day in (NOON - timedelta(1), NOON, LATER)] == [2, None, 2]
    assert held.take(source, LATER + timedelta(days=1)).is_nothing


def test_a_sheet_that_ends_a_line_has_it_end_on_that_day() -> None:
    held = Held(line(2))
    made = held.take(dated(line(2, period=Period(ALWAYS, at("2026-10-01")))))
    assert [held.price(at("2026-09-30")), held.price(at("2026-10-01"))] == [2, None]
    assert len(made.withdrawn) == 1


def test_lines_of_other_sources_are_not_gone() -> None:
    made = plan([line(9, "mine", source="contract", id=7)], undated(line(2)), NOON)
    assert (made.gone, made.withdrawn) == ((), ())


def test_only_what_is_asked_for_is_added_changed_or_gone() -> None:
    held = Held(line(2), line(2, "other"))
    made = held.take(undated(line(3), line(3, "small")), wanted=Wanted(models=("l*", "s*"), providers=("acme",)))
    assert (len(made.added), len(made.changed), len(made.gone)) == (1, 1, 0)
    assert held.take(undated(), LATER, Wanted(providers=("someone",))).is_nothing


@pytest.mark.parametrize("tier", [None, ""])
def test_what_the_source_has_and_no_line_can_say_is_not_gone(tier: str | None) -> None:
    held = Held(line(2))
    assert held.take(undated(left_out=[LeftOut("acme", "large", "no", service_tier=tier)])).is_nothing


@pytest.mark.parametrize("name", ["large", "acme/large", "house/large"])
def test_what_the_source_has_without_its_provider_is_not_gone(name: str) -> None:
    held = Held(line(2), line(2, "small"))
    made = held.take(undated(left_out=[LeftOut("", name, "it names no provider")]))
    assert [rate.model for rate in made.gone] == ["small"]


def test_a_price_that_is_left_out_keeps_no_model_that_is_gone() -> None:
    assert Held(line(2)).take(undated(left_out=[LeftOut("acme", "large", "no", "per_pixel")])).gone


def of_file(*lines: Rate) -> Listing:
    headings = frozenset((rate.provider, rate.source) for rate in lines)
    return Listing(frozenset(source for _, source in headings), lines, headings=headings)


def test_a_file_ends_no_line_of_a_provider_that_it_does_not_name_though_the_source_be_called_the_same() -> None:
    held = Held(line(2), line(2, provider="beta"), line(2, "small"))
    made = held.take(of_file(line(3)))
    assert [(rate.provider, rate.model) for rate in made.gone] == [("acme", "small")]
    assert {rate.provider for rate in made.withdrawn} == {"acme"}


PRICES = st.integers(1, 3)
DAYS = st.sampled_from([ALWAYS, at("2026-06-01"), at("2026-11-01"), NOON, LATER, at("2027-01-01")])
CONDITIONS = st.sampled_from([(0, None), (1000, None), (0, hours("22:00-06:00 UTC"))])


@st.composite
def listings(draw: st.DrawFn, is_undated: bool) -> Listing:
    """Lists as sources have them: each of its days with a line for all calls, and maybe others."""
    found = []
    for tier in draw(st.sets(st.sampled_from(["", "batch"]))):
        for day in draw(st.sets(DAYS, min_size=1)):
            for above, when in {(0, None), *draw(st.sets(CONDITIONS))}:
                found.append(line(draw(PRICES), since=day, service_tier=tier, context_above=above, hours=when))
    return undated(*found) if is_undated else dated(*found)


@settings(deadline=None)
@given(st.booleans().flatmap(lambda is_undated: st.lists(listings(is_undated), min_size=1, max_size=4)))
def test_after_any_imports_calls_cost_from_then_on_what_the_source_says_and_before_what_they_did(
    sources: list[Listing],
) -> None:
    held = Held()
    for n, source in enumerate(sources):
        now = NOON + timedelta(days=30 * n, hours=n)
        held.take(source, now)
        said = RateBook(source.lines)
        for when in (now, now + timedelta(hours=11), now + timedelta(days=100)):
            for tier, tokens in (("", 0), ("", 1001), ("batch", 1001)):
                rate = said.find("acme", "large", when, tokens, tier)
                assert held.price(when, tokens, tier) == (rate and rate.input_per_1k)
        assert held.take(source, now + timedelta(hours=1)).is_nothing


def test_an_import_is_in_the_books_with_who_and_why(books: Books) -> None:
    def imported(source: Listing, now: datetime) -> Plan:
        with reading(books.engine) as conn:
            made = rateimports.of_books(conn, source, now, Wanted(), lambda _done, _of: None)
        stamps.decide(books.engine, lambda conn: rateimports.apply(conn, made, now, "zoe", "list", "weekly"))
        return made

    imported(undated(line(2), line(8, "small")), NOON)
    imported(undated(line(3)), LATER)
    with reading(books.engine) as conn:
        lines = [one for one in ratebook.lines(conn, withdrawn=True) if one.rate.provider == "acme"]
        again = rateimports.of_books(conn, undated(line(3)), LATER + timedelta(1), Wanted(), lambda _done, _of: None)
    assert [
        (one.rate.model, str(one.rate.input_per_1k), one.rate.valid_from, one.rate.period.end) for one in lines
    ] == [
        ("large", "2", ALWAYS, None),
        ("small", "8", ALWAYS, None),
        ("large", "3", LATER, None),
        ("small", "8", ALWAYS, LATER),
    ]
    assert [(one.withdrawn_at, one.withdrawn_by, one.withdrawn_why) for one in lines] == [
        (None, None, None),
        (LATER, "zoe", "Import of list: weekly"),
        (None, None, None),
        (None, None, None),
    ]
    assert {one.loaded_by for one in lines} == {"zoe"}
    assert again.is_nothing


def test_what_somebody_else_changed_meanwhile_is_not_changed_back(books: Books) -> None:
    with reading(books.engine) as conn:
        made = rateimports.of_books(conn, undated(line(2)), NOON, EVERYTHING, lambda _done, _of: None)
    stamps.decide(books.engine, lambda conn: ratebook.add(conn, line(9, source="contract"), NOON, "zoe"))
    with pytest.raises(RateCardError, match="run it again"):
        stamps.decide(books.engine, lambda conn: rateimports.apply(conn, made, NOON, "zoe", "list"))
    with reading(books.engine) as conn:
        assert [rate.source for rate in ratebook.rates(conn) if rate.provider == "acme"] == ["contract"]


def taken(books: Books, source: Listing, now: datetime) -> Plan:
    with reading(books.engine) as conn:
        made = rateimports.of_books(conn, source, now, EVERYTHING, lambda _done, _of: None)
    stamps.decide(books.engine, lambda conn: rateimports.apply(conn, made, now, "zoe", "list"))
    return made


def ids(books: Books, *prices: int) -> list[int]:
    """Of the lines in force at these prices of input."""
    with reading(books.engine) as conn:
        rates = [one.rate for one in ratebook.lines(conn, withdrawn=False) if one.rate.provider == "acme"]
    return [rate.id for rate in rates if rate.input_per_1k in prices]


def withdraw(books: Books, *which: int) -> None:
    stamps.decide(books.engine, lambda conn: ratebook.withdraw(conn, which, NOON, "ann", "not our price"))


def refused(made: Plan) -> list[tuple[int, str | None]]:
    return [(int(one.rate.input_per_1k), one.line.withdrawn_by) for one in made.refused]


def test_a_line_that_somebody_withdrew_does_not_come_back_while_the_source_says_the_same(books: Books) -> None:
    taken(books, undated(line(2)), NOON)
    withdraw(books, *ids(books, 2))
    again = taken(books, undated(line(2)), LATER)
    assert (again.is_nothing, refused(again)) == (True, [(2, "ann")])
    assert taken(books, undated(line(3)), LATER).added


def test_a_line_that_an_import_put_in_an_older_ones_place_stays_withdrawn_and_the_older_one_stays(books: Books) -> None:
    taken(books, undated(line(2)), NOON)
    taken(books, undated(line(3)), LATER)
    withdraw(books, *ids(books, 3))
    again = taken(books, undated(line(3)), LATER)
    assert (again.is_nothing, again.kept, refused(again)) == (True, 1, [(3, "ann")])


def test_of_a_list_the_line_that_somebody_withdrew_is_left_out_and_the_others_are_kept_up(books: Books) -> None:
    taken(books, undated(line(2), line(4, context_above=1000)), NOON)
    withdraw(books, *ids(books, 4))
    made = taken(books, undated(line(3), line(4, context_above=1000)), LATER)
    assert [(int(rate.input_per_1k), rate.context_above) for rate in made.appended] == [(3, 0)]
    assert refused(made) == [(4, "ann")]


def test_a_line_with_a_date_that_somebody_withdrew_stays_away_from_that_date_alone(books: Books) -> None:
    source = dated(line(2), line(3, since=at("2026-06-01")), line(2, since=at("2026-10-01")))
    taken(books, source, NOON)
    withdraw(books, ids(books, 2)[0])
    again = taken(books, source, LATER)
    assert (again.is_nothing, again.kept, refused(again)) == (True, 2, [(2, "ann")])


@pytest.mark.parametrize("until", [NOON + timedelta(days=1), LATER + timedelta(days=30)])
def test_a_line_that_somebody_had_end_ends(books: Books, until: datetime) -> None:
    taken(books, undated(line(2)), NOON)
    (id_,) = ids(books, 2)
    stamps.decide(books.engine, lambda conn: ratebook.end(conn, id_, until, NOON, "ann", "we left"))
    again = taken(books, undated(line(2)), LATER)
    assert (again.is_nothing, refused(again)) == (True, [(2, "ann")])


def test_what_somebody_added_again_is_the_sources_again(books: Books) -> None:
    taken(books, undated(line(2)), NOON)
    withdraw(books, *ids(books, 2))
    stamps.decide(books.engine, lambda conn: ratebook.add(conn, line(2), NOON, "ann"))
    assert refused(taken(books, undated(line(2)), LATER)) == []
    assert len(taken(books, undated(line(3)), LATER).changed) == 1


def test_what_an_import_withdrew_comes_back_with_the_source(books: Books) -> None:
    taken(books, undated(line(2), line(5, since=LATER)), NOON)
    taken(books, undated(line(2)), NOON)
    made = taken(books, undated(line(2), line(5, since=LATER)), NOON)
    assert (len(made.appended), made.refused) == (1, ())
