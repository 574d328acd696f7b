"""Books whose budgets change all the time while calls are asked for, and come in: held against a ledger after every
step."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Connection

from accounting import (
    aliasbook,
    backfill,
    budgetperiods,
    budgets,
    handovers,
    keys,
    projects,
    ratebook,
    rerating,
    reservations,
    scoped,
    settling,
    stamps,
)
from accounting.aliases import Rule
from accounting.budgets import Budget, Terms
from accounting.cycles import Cycle, Every
from accounting.decisions import Ask, Decision, Grant, Mode, Refusal
from accounting.differences import Repaired
from accounting.errors import RateCardError
from accounting.exposure import Exposure
from accounting.handovers import Handover
from accounting.periods import Period
from accounting.ports import Verdict
from accounting.projects import UNASSIGNED
from accounting.rates import Rate
from accounting.rebuild import rebuild
from accounting.rerating import Which
from accounting.restate import Order, apply, begin
from accounting.rollup import roll
from accounting.scopes import Kind, Scope
from accounting.store import reading, tables, transact, writing
from accounting.storegate import StoreGate
from accounting.usage import Call, Outcome, Usage, UsageSource, sub_id
from accounting.verify import verify
from tests.books import NOON, Books, at, made, used
from tests.budgeted import EVERYTHING
from tests.ledger import ANEW, Cap, Ledger, Place, Posted, Said, Sums, Tokens, end_day, first_day
from tests.spending import emptied

T = TypeVar("T")

INSTANTS = tuple(
    map(
        at,
        (
            "2026-03-08 04:59:59.999999",  # the last of a day in New York
            "2026-03-08 05:00",  # its day of 23 hours
            "2026-03-08 16:00",  # the next day in Shanghai
            "2026-03-09 03:59:59.999999",
            "2026-03-09 04:00",
            "2026-03-31 15:59:59.999999",
            "2026-03-31 16:00",  # a month begins in Shanghai
            "2026-04-01 04:00",  # and in New York
            "2026-11-01 03:59:59.999999",
            "2026-11-01 04:00",  # its day of 25 hours
            "2026-11-02 04:59:59.999999",
            "2026-11-02 05:00",
        ),
    )
)
"""What time it is, and when calls begin."""

PROJECTS = ("checkout", "ny", "search")
"""Of these one is billed by the days of New York."""

KEYS = ("a1" * 32, "b2" * 32)
MODELS = ("ab", "x!ab", "ba", "b")
RULES = (Rule("p", "x!{model}", "{model}"), Rule("p", "ba", "ab"))
TAGS: tuple[dict[str, str], ...] = ({}, {"feature": "rerank"}, {"feature": "", "team": "a"})
CYCLES = (
    Cycle(Every.DAY),
    Cycle(Every.WEEK),
    Cycle(Every.MONTH),
    Cycle(Every.QUARTER),
    Cycle(Every.YEAR),
    Cycle(Every.DAYS, 3, date(2026, 2, 27)),
    Cycle(Every.DAYS, 3, date(2026, 3, 10)),
    Cycle(Every.TOTAL),
    Cycle(Every.TOTAL, since=date(2026, 3, 9)),
)
FX: tuple[dict[str, Decimal], ...] = ({}, {"USD": Decimal("7.25")}, {"CNY": Decimal("0.14")})
"""What does not fit the currency of a budget is left out."""


def partial_usage(tokens_in: int, tokens_out: int) -> Usage:
    return used(tokens_in, tokens_out)._replace(source=UsageSource.PARTIAL)


def end(outcome: Outcome, status: int | None, usage: Usage = Usage(), **changes: Any) -> dict[str, Any]:  # noqa: B008
    return {"outcome": outcome, "http_status": status, "usage": usage, **changes}


FINISHED = end(Outcome.FINISHED, 200, used(10, 5, read=4, thought=2))
UNKNOWN = end(Outcome.UNKNOWN, None)
CUT = end(Outcome.INTERRUPTED, 200, partial_usage(10, 2))
ENDS = (
    FINISHED,
    FINISHED,
    end(Outcome.FINISHED, 200, used(21, 30)),  # more than anything is set aside for
    end(Outcome.FINISHED, 200, used(8, 3), response_model="b"),
    end(Outcome.FINISHED, 200, used(8, 3), response_model="nobody's"),
    end(Outcome.FINISHED, 200),
    end(Outcome.FAILED, None),
    end(Outcome.FAILED, None, refused_by="cap"),
    end(Outcome.FAILED, 429),
    end(Outcome.FAILED, 500, used(10, 0)),
    end(Outcome.FAILED, 200),
    end(Outcome.FAILED, 200, used(10, 1)),
    UNKNOWN,
    UNKNOWN,
    CUT,
    CUT,
    end(Outcome.INTERRUPTED, 200),
    end(Outcome.INTERRUPTED, 200, used(10, 4)),
)


@dataclass(frozen=True)
class Exposed:
    """What a call may use, as it is said to the books and to the ledger."""

    said: Exposure
    tokens: Tokens


EXPOSED = (
    Exposed(Exposure(10, 5, True, 12, 20), Tokens((10, 5), (12, 20))),
    Exposed(Exposure(10, 5, False, 12, 8), Tokens((10, 8), (12, 8))),
    Exposed(Exposure(10, 6, True, 12, None), Tokens((10, 6), None)),
    Exposed(Exposure(10, 6, True, None, 20), Tokens((10, 6), None)),
    Exposed(Exposure(21, 3, True, 25, 10, choices=2), Tokens((21, 6), (25, 20))),
)

exposures = st.sampled_from(EXPOSED)
prices = st.decimals(0, 20, places=3)
limits = st.sampled_from(tuple(map(Decimal, ("0", "0.1", "0.25", "0.5", "0.5", "1", "1", "1.7", "1.7", "100"))))
modes = st.sampled_from((Mode.SOFT, Mode.HARD, Mode.HARD, Mode.STRICT))
exchanges = st.sampled_from(FX)
places = st.integers(0, 20)
"""Which of what there is, as often as it takes round and round."""

scopes = st.sampled_from(
    (
        Scope(Kind.ALL),
        Scope(Kind.ALL),
        *(Scope(Kind.PROJECT, name=name) for name in (*PROJECTS, UNASSIGNED)),
        *(Scope(Kind.KEY, name=key) for key in KEYS),
        *(Scope(Kind.MODEL, name=name) for name in ("ab", "a*", "b")),
        Scope(Kind.PROVIDER, name="p"),
        Scope(Kind.USER, name="eve"),
        Scope(Kind.TAG, name="feature", value="rerank"),
        Scope(Kind.TAG, name="feature"),
    )
)
"""Of projects and keys by their names: what their ids are the books say."""


@dataclass(frozen=True)
class Wish:
    """A budget that somebody wants."""

    scope: Scope = EVERYTHING
    limit: Decimal = Decimal(1)
    mode: Mode = Mode.HARD
    cycle: Cycle = CYCLES[0]
    currency: str = "CNY"
    fx: dict[str, Decimal] = field(default_factory=dict)


wishes = st.builds(
    Wish, scopes, limits, modes, st.sampled_from(CYCLES), st.sampled_from(("CNY", "CNY", "USD")), exchanges
)


@st.composite
def lines(draw: st.DrawFn) -> Rate:
    return Rate(
        provider=draw(st.sampled_from(("p", "p", "q"))),
        model=draw(st.sampled_from(("ab", "ab", "b", "ba", "*b"))),
        currency=draw(st.sampled_from(("USD", "CNY", "CNY"))),
        period=Period(draw(st.sampled_from((INSTANTS[0], INSTANTS[0], INSTANTS[4]))), None),
        context_above=draw(st.sampled_from((0, 0, 0, 10))),
        input_per_1k=draw(prices),
        output_per_1k=draw(prices),
        cache_read_per_1k=draw(st.none() | prices),
        reasoning_per_1k=draw(st.none() | prices),
    )


def running(
    started_at: datetime,
    model: str = "ab",
    project: str | None = "checkout",
    key: str = KEYS[0],
    provider: str = "p",
    user: str | None = None,
    tags: dict[str, str] = TAGS[0],
) -> Call:
    """A call that is about to be sent; its id is to be given yet."""
    call = made(started_at, provider=provider, request_model=model, project=project, key_fingerprint=key, user=user)
    return replace(call, tags=tags, outcome=None, http_status=None, usage=Usage())


some_calls = st.lists(
    st.builds(
        running,
        st.sampled_from(INSTANTS),
        st.sampled_from(MODELS),
        st.sampled_from((None, *PROJECTS)),
        st.sampled_from(KEYS),
        st.sampled_from(("p", "p", "p", "p", "p", "q")),
        st.sampled_from((None, "eve")),
        st.sampled_from(TAGS),
    ),
    min_size=1,
    max_size=5,
)
some_ends = st.lists(st.sampled_from(ENDS), min_size=5, max_size=5)
WHO = "ann@desk"


class BudgetedBooks(RuleBasedStateMachine):
    """Calls are asked for and come in, early and late, while budgets, rates, names and payers come and go."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self.books = books
        self.ledger = Ledger()
        self.calls: list[Call] = []
        """All there ever were, as they last came in, or are running yet."""
        self.now = INSTANTS[0]
        self.made = 0
        self.renamed: set[str] = set()

    @initialize(
        some=st.lists(lines(), min_size=3, max_size=6),
        first=st.lists(wishes, min_size=1, max_size=3),
        when=st.integers(0, 3),
    )
    def begin_with(self, some: list[Rate], first: list[Wish], when: int) -> None:
        emptied(self.books)
        with writing(self.books.engine) as conn:
            conn.execute(tables.rates.delete().where(tables.rates.c.provider.in_(("p", "q"))))
            projects.create(conn, "ny", NOON, WHO, zone="America/New_York")
            named = projects.project_ids(conn, (*PROJECTS, UNASSIGNED), NOON)
            held = keys.key_ids(conn, {key: key[:4] for key in KEYS}, NOON)
        self.ledger.projects = {id_: name for name, id_ in named.items()}
        self.ledger.keys = {id_: key for key, id_ in held.items()}
        self.gate = StoreGate(self.books.url)
        self.now = INSTANTS[when]
        for line in (_line("*", "p"), *some):
            self.load(line)
        for wish in first:
            self.budget(wish)

    @precondition(lambda self: len(self.ledger.caps) < 6)
    @rule(wish=wishes)
    def budget(self, wish: Wish) -> None:
        self.made += 1
        fx = _other(wish.fx, wish.currency)
        said = Terms(name=f"cap {self.made}", limit=wish.limit, mode=wish.mode, fx=fx)
        scope = self._scope(wish.scope)

        def work(conn: Connection) -> Budget:
            new = budgets.add(conn, scope, wish.currency, wish.cycle, said, self.now, WHO)
            backfill.fill(conn, new)
            return new

        new = self._decide(work)
        assert new.counted_from == self._counted_from(scope, wish.cycle)
        terms = wish.limit, wish.mode, fx
        self.ledger.caps[new.id] = Cap(
            new.id, new.name, scope, wish.currency, wish.cycle, *terms, counted_from=new.counted_from
        )

    @precondition(lambda self: self.ledger.caps)
    @rule(place=places, limit=limits, mode=modes, fx=exchanges)
    def edit(self, place: int, limit: Decimal, mode: Mode, fx: dict[str, Decimal]) -> None:
        cap = self._cap(place)
        said = Terms(name=cap.name, limit=limit, mode=mode, fx=_other(fx, cap.currency))

        def work(conn: Connection) -> None:
            before = budgets.find(conn, cap.name)
            after = budgets.edit(conn, before, said, self.now, WHO)
            if after.terms.fx != before.terms.fx:
                backfill.fill(conn, after)
                settling.exchange(conn, before, after)

        self._decide(work)
        edited = replace(cap, mode=mode, fx=said.fx)
        if said.fx != cap.fx:
            self.ledger.exchange(edited)
        today = self.ledger.day(self._project(cap.scope), self.now)
        if cap.scope.kind is not Kind.PROJECT:  # it may be yesterday still somewhere
            today = (self.now - timedelta(hours=12)).date()
        self.ledger.caps[cap.id] = edited if limit == cap.limit else edited.edited(limit, today)

    @precondition(lambda self: self.ledger.caps)
    @rule(place=places)
    def pause_or_resume(self, place: int) -> None:
        cap = self._cap(place)
        do = budgets.resume if cap.is_paused else budgets.pause
        self._decide(lambda conn: do(conn, budgets.find(conn, cap.name), self.now, WHO))
        self.ledger.caps[cap.id] = replace(cap, is_paused=not cap.is_paused)

    @precondition(lambda self: len(self.ledger.caps) > 3)
    @rule(place=places)
    def remove(self, place: int) -> None:
        cap = self._cap(place)

        def work(conn: Connection) -> None:
            reservations.forget(conn, budgets.remove(conn, budgets.find(conn, cap.name), self.now, WHO))

        self._decide(work)
        self.ledger.remove(cap)

    @rule(some=some_calls, exposed=exposures, is_over=st.booleans(), how=some_ends, ended=st.integers(0, 5))
    def ask_and_end(
        self, some: list[Call], exposed: Exposed, is_over: bool, how: Sequence[dict[str, Any]], ended: int
    ) -> None:
        """Several calls at once, of which some end soon."""
        self.reserve(some, exposed, is_over)
        self.every_reservation_is_in_the_ledger()
        sent = self.calls[-len(some) :]
        self.take(replace(call, **said) for call, said in zip(sent[:ended], how, strict=False))

    @rule(some=some_calls, exposed=exposures, is_over=st.booleans())
    def reserve(self, some: list[Call], exposed: Exposed, is_over: bool) -> None:
        calls = [self._new(call) for call in some]
        lease = timedelta(days=-400 if is_over else 40_000)

        def work(conn: Connection) -> list[Decision]:
            asks = [Ask(call, exposed.said) for call in calls]
            return reservations.reserve(conn, self.gate._current(conn), asks, NOON, lease)

        decisions = transact(self.books.engine, work)
        said = self.ledger.ask([(call, exposed.tokens) for call in calls], is_over=is_over)
        assert list(map(_told, decisions)) == said
        for decision in decisions:
            assert not isinstance(decision, Grant) or all(state.used <= state.limit for state in decision.states)

    @precondition(lambda self: self.calls)
    @rule(place=places, number=st.integers(1, 2))
    def release(self, place: int, number: int) -> None:
        ids = {_round(self.calls, place + step).id for step in range(number)}
        assert transact(self.books.engine, lambda conn: reservations.release(conn, ids)) == self.ledger.release(ids)

    @precondition(lambda self: self.ledger.caps)
    @rule(place=places)
    def release_held(self, place: int) -> None:
        cap = self._cap(place)

        def work(conn: Connection) -> int:
            return len(reservations.release_held(conn, budgets.find(conn, cap.name)))

        assert transact(self.books.engine, work) == self.ledger.release_held(cap)

    @rule()
    def lapse(self) -> None:
        assert transact(self.books.engine, reservations.lapse) == self.ledger.lapse()

    @rule(some=some_calls, how=some_ends)
    def deliver(self, some: list[Call], how: Sequence[dict[str, Any]]) -> None:
        """Calls that nobody asked for."""
        self.take(replace(self._new(call), **said) for call, said in zip(some, how, strict=False))

    @precondition(lambda self: self.calls)
    @rule(some=st.lists(st.tuples(places, st.sampled_from(ENDS)), min_size=1, max_size=3), is_parent=st.booleans())
    def end(self, some: list[tuple[int, dict[str, Any]]], is_parent: bool) -> None:
        """Calls come in, or come in again, in whatever order; some with what another model used for them."""
        picked = {call.id: replace(call, **said) for call, said in ((self._call(place), said) for place, said in some)}
        subs = [_below(call) for call in picked.values()] if is_parent else []
        self.take([*picked.values(), *subs])

    def _call(self, place: int) -> Call:
        """The latest first, as these are asked for more often."""
        return _round([call for call in reversed(self.calls) if call.parent_id is None], place)

    @precondition(lambda self: self.ledger.posted)
    @rule(place=places)
    def deliver_again(self, place: int) -> None:
        self.take([self._posted(place).call])

    def take(self, some: Iterable[Call]) -> None:
        if not (calls := list(some)):
            return
        assert Verdict.REJECTED not in self.books.deliver(*calls)
        known = {call.id: call for call in self.calls}
        for call in calls:
            self.ledger.post(call)
            known[call.id] = call
        self.calls = list(known.values())

    @precondition(lambda self: self.ledger.posted)
    @rule(place=places, to=st.sampled_from(PROJECTS))
    def move(self, place: int, to: str) -> None:
        moved = {one.call.id: one for one in (self._posted(place), self._posted(place + 1))}
        id_ = self._id(self.ledger.projects, to)
        said = {
            one.call.id: {"project_id": id_, "billed_on": self.ledger.day(to, one.call.started_at)}
            for one in moved.values()
        }
        with writing(self.books.engine) as conn:
            apply(conn, begin(conn, Order("project-moved", {"to": to}, WHO, "a test"), NOON), said)
        for one in moved.values():
            self.ledger.change(replace(one, project=to))

    @rule(
        key=st.sampled_from(KEYS),
        to=st.sampled_from((*PROJECTS, UNASSIGNED)),
        since=st.sampled_from((keys.ALWAYS, *INSTANTS)),
        follows=st.booleans(),
    )
    def hand_over(self, key: str, to: str, since: datetime, follows: bool) -> None:
        with reading(self.books.engine) as conn:
            handover = Handover(keys.find(conn, key), projects.find(conn, to), since, WHO, "a test")
        handovers.hand_over(self.books.engine, handover, self.now)
        self.ledger.assign(key, to, since, self.now)
        if not follows:
            return
        handovers.follow(self.books.engine, handover, lambda: self.now)
        for one in list(self.ledger.posted.values()):
            is_its = one.call.key_fingerprint == key and one.source != "meter" and one.call.started_at >= since
            if is_its:
                self.ledger.change(self.ledger.followed(one))

    @rule(line=lines())
    def load(self, line: Rate) -> None:
        with writing(self.books.engine) as conn:
            try:
                loaded = ratebook.load(conn, [line], NOON, WHO)
            except RateCardError:
                conn.rollback()
                return
        self.ledger.lines |= {each.id: each for each in loaded.lines}

    @precondition(lambda self: len(self.ledger.lines) > 2)
    @rule(place=places)
    def withdraw(self, place: int) -> None:
        id_ = _round(sorted(self.ledger.lines), place)
        self._decide(lambda conn: ratebook.withdraw(conn, [id_], NOON, WHO, "wrong"))
        del self.ledger.lines[id_]

    @precondition(lambda self: self.ledger.posted)
    @rule(unpriced=st.booleans())
    def rerate(self, unpriced: bool) -> None:
        which = Which(unpriced_only=unpriced)
        would = rerating.rerate(self.books.engine, which, lambda: self.now, WHO, "a test", dry_run=True)
        rerating.rerate(self.books.engine, which, lambda: self.now, WHO, "a test")
        before = self.ledger.spent()
        for one in list(self.ledger.posted.values()):
            if one.rate is None or not unpriced:
                self.ledger.change(self.ledger.priced(one))
        after = self.ledger.spent()
        moves = {whose: after.get(whose, 0) - before.get(whose, 0) for whose in {*before, *after}}
        told: dict[tuple[str, str], Fraction] = {}
        for stretch, amount in would.done.budgets.items():
            whose = stretch.budget, stretch.currency
            told[whose] = told.get(whose, Fraction(0)) + Fraction(amount)
        assert {of: sum_ for of, sum_ in told.items() if sum_} == {of: sum_ for of, sum_ in moves.items() if sum_}

    @rule(rule=st.sampled_from(RULES))
    def name(self, rule: Rule) -> None:
        def work(conn: Connection) -> Rule | None:
            added = aliasbook.add(conn, rule, NOON, WHO)
            backfill.fill_by_model(conn)
            return added

        added = self._decide(work)
        if added is not None:
            self.ledger.aliases[added.id] = added

    @precondition(lambda self: self.ledger.aliases)
    @rule(place=places)
    def name_no_more(self, place: int) -> None:
        id_ = _round(sorted(self.ledger.aliases), place)

        def work(conn: Connection) -> None:
            aliasbook.withdraw(conn, [id_], NOON, WHO, "another model")
            backfill.fill_by_model(conn)

        self._decide(work)
        del self.ledger.aliases[id_]

    @rule(limit=st.integers(1, 3))
    def roll(self, limit: int) -> None:
        roll(self.books.engine, NOON, limit)

    @rule(project=st.sampled_from(PROJECTS))
    def rename(self, project: str) -> None:
        """There and back again; from then on calls name it by either name."""

        def work(conn: Connection) -> None:
            held = projects.find(conn, project)
            projects.rename(conn, held, project + ANEW if held.name == project else project, NOON, WHO)

        self._decide(work)
        self.renamed.add(project)

    @rule()
    def balance(self) -> None:
        assert verify(self.books.engine).differences == ()

    @rule()
    def rebuild(self) -> None:
        assert {*rebuild(self.books.engine).tables.values()} <= {Repaired()}

    @rule(steps=st.integers(1, 4))
    def pass_time(self, steps: int) -> None:
        place = INSTANTS.index(self.now) + steps
        self.now = INSTANTS[min(place, len(INSTANTS) - 1)]

    @invariant()
    def every_period_says_what_the_ledger_says(self) -> None:
        if not self.ledger.projects:
            return
        found, expected = self._periods(), self.ledger.sums()
        # A period has a row once something is in it.
        assert found == {place: expected.pop(place, Sums()) for place in found}
        assert [place for place, sums in expected.items() if sums != Sums()] == []
        assert all(sums.reserved >= 0 and sums.held >= 0 for sums in found.values())

    def _periods(self) -> dict[Place, Sums]:
        """As the books have them, of budgets that count; what they say of limits, and how long they last, is right."""
        found: dict[Place, Sums] = {}
        for row in self.books.rows(tables.budget_periods):
            cap = self.ledger.caps.get(row["budget_id"])
            if cap is None:
                continue
            first = row["begins_on"]
            assert (first, row["ends_on"]) == (first_day(cap.cycle, first), end_day(cap.cycle, first))
            assert row["amount"] == cap.limit_of(first)
            spent, reserved, held, over = (Fraction(row[name]) for name in ("spent", "reserved", "held", "overrun"))
            sums = Sums(spent, reserved, held, over, row["unpriced"], row["foreign_calls"])
            found[Place(cap.id, first)] = sums
        return found

    @invariant()
    def every_reservation_is_in_the_ledger(self) -> None:
        held = {row["id"]: Place(row["budget_id"], row["begins_on"]) for row in self.books.rows(tables.budget_periods)}
        found = {
            (row["call_id"], held[row["period_id"]]): (Fraction(row["amount"]), row["state"])
            for row in self.books.rows(tables.reservations)
        }
        assert found == {key: (one.amount, one.state) for key, one in self.ledger.aside.items()}

    def teardown(self) -> None:
        if not self.ledger.projects:
            return
        self.quiesce()
        self.gate.close()

    def quiesce(self) -> None:
        """Whatever ran has ended, and everybody said what it cost: then nothing is set aside any more."""
        for provider in "pq":
            self.load(_line("*", provider))
        self.take(replace(call, **FINISHED) for call in self.calls)
        self.rerate(unpriced=False)
        self.every_period_says_what_the_ledger_says()
        self.every_reservation_is_in_the_ledger()
        self.what_is_spent_is_what_the_books_say()
        self.balance()
        left = {id_ for id_, _ in self.ledger.aside}
        assert all(self._lacks_cost(self.ledger.posted[id_]) for id_ in left)

    def what_is_spent_is_what_the_books_say(self) -> None:
        with reading(self.books.engine) as conn:
            for budget in budgets.known(conn):
                found = backfill.spent(budget, scoped.costs(conn, budget.scope, budget.counted_from))
                for period in budgetperiods.all_of(conn, budget):
                    counted = found.pop(period.place, None)
                    spent = (counted.spent, counted.unpriced, counted.foreign_calls) if counted else (0, 0, 0)
                    assert (period.spent, period.unpriced, period.foreign_calls) == spent
                assert not any(each.spent or each.unpriced or each.foreign_calls for each in found.values())

    def _lacks_cost(self, one: Posted) -> bool:
        """Whether nobody can say what it cost: it ended without a word, or a budget names no exchange rate for it."""
        is_silent = one.call.usage.source is not UsageSource.PROVIDER
        asides = [self.ledger.caps[place.cap] for id_, place in self.ledger.aside if id_ == one.call.id]
        return is_silent or all(one.costs(cap) is None for cap in asides)

    def _decide(self, work: Callable[[Connection], T]) -> T:
        return stamps.decide(self.books.engine, work)

    def _new(self, call: Call) -> Call:
        """With an id, and among those that there are."""
        number = len(self.calls) + 1
        name = f"{call.project}{ANEW}" if call.project in self.renamed and number % 2 else call.project
        call = replace(call, id=made(call.started_at, number).id, project=name)
        self.calls.append(call)
        return call

    def _cap(self, place: int) -> Cap:
        return self.ledger.caps[_round(sorted(self.ledger.caps), place)]

    def _posted(self, place: int) -> Posted:
        return _round(list(self.ledger.posted.values()), place)

    def _scope(self, scope: Scope) -> Scope:
        match scope.kind:
            case Kind.PROJECT:
                return Scope(scope.kind, self._id(self.ledger.projects, scope.name))
            case Kind.KEY:
                return Scope(scope.kind, self._id(self.ledger.keys, scope.name))
            case _:
                return scope

    def _id(self, names: dict[int, str], name: str) -> int:
        return next(id_ for id_, each in names.items() if each == name)

    def _project(self, scope: Scope) -> str:
        """Whose days are its: those of its project, or of the books."""
        return self.ledger.projects[scope.id] if scope.kind is Kind.PROJECT else UNASSIGNED

    def _counted_from(self, scope: Scope, cycle: Cycle) -> date:
        today = self.ledger.day(self._project(scope), self.now)
        if cycle.since is not None and cycle.since > today:
            return cycle.since
        return first_day(cycle, today)


def _line(model: str, provider: str) -> Rate:
    """For calls of which no other line is."""
    price = Decimal("0.5")
    period = Period(INSTANTS[0], None)
    return Rate(
        provider=provider, model=model, currency="CNY", period=period, input_per_1k=price, output_per_1k=2 * price
    )


def _below(call: Call) -> Call:
    """What another model used for it."""
    usage = used(3, 2) if call.usage.input_tokens else Usage()
    return replace(call, id=sub_id(call.id, 1), parent_id=call.id, request_model=None, response_model="b", usage=usage)


def _other(fx: dict[str, Decimal], currency: str) -> dict[str, Decimal]:
    return {code: rate for code, rate in fx.items() if code != currency}


def _told(decision: Decision) -> Said:
    if isinstance(decision, Refusal):
        return Said(decision.why, decision.budget, None if decision.asked is None else Fraction(decision.asked))
    return Said(None)


def _round(some: Sequence[T], place: int) -> T:
    return some[place % len(some)]
