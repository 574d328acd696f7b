"""The laws of the books, on any calls in any order: nothing twice (L2), in balance (L3), exact (L4)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.booked import BookedCall, Selection, listed
from accounting.ingest import ingest
from accounting.money import Money
from accounting.rates import CLASSES
from accounting.rollup import roll
from accounting.spend import BY, Report, SpendLine, added
from accounting.spend_rows import Scope
from accounting.store import reading
from accounting.store.tables import received_ahead, sources, spend_days, spend_quarters
from accounting.usage import Call, Outcome, Usage, UsageSource
from accounting.verify import verify
from tests.books import NOON, Books, made
from tests.databases import Database

ZONES = (None, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/St_Johns"), ZoneInfo("Pacific/Apia"))
BY_TAG = ("user", "anomaly", "refusal", "tag:KEY")
PRICED, FREE, UNPRICED = "priced", "free", "nobody/knows"

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


FEW = st.none() | st.integers(0, 3)
STATED = st.none() | st.builds(Money, st.decimals(0, 1000, places=20), st.sampled_from(("USD", "CNY")))


@st.composite
def usages(draw: st.DrawFn, most: int = 5000) -> Usage:
    if draw(st.integers(0, 4)) == 0:
        return Usage()
    tokens_in, tokens_out = draw(st.integers(0, most)), draw(st.integers(0, most))
    ins, outs = _Parts(draw, tokens_in), _Parts(draw, tokens_out)
    read, write = ins.part(), ins.part()
    return Usage(
        tokens_in,
        read,
        write,
        tokens_out,
        outs.part(),
        draw(st.sampled_from((UsageSource.PROVIDER, UsageSource.PARTIAL))),
        tuple(draw(st.lists(st.sampled_from(("total_mismatch", "hidden_output")), unique=True))),
        provider_cost=draw(STATED),
        cache_write_1h_tokens=_Parts(draw, write or 0).part(),
        audio_input_tokens=ins.part(),
        image_input_tokens=ins.part(),
        audio_output_tokens=outs.part(),
        image_output_tokens=outs.part(),
        requests=draw(FEW),
        web_searches=draw(FEW),
        images=draw(FEW),
        audio_seconds=draw(FEW),
    )


class _Parts:
    """Parts of a whole that are apart from each other."""

    def __init__(self, draw: st.DrawFn, whole: int) -> None:
        self._draw, self._left = draw, whole

    def part(self) -> int | None:
        taken = self._draw(st.none() | st.integers(0, self._left))
        self._left -= taken or 0
        return taken


@st.composite
def some_calls(draw: st.DrawFn, most: int = 5000) -> list[Call]:
    """Calls of two weeks around a month's end, in few enough groups for several to meet in one."""
    return [
        made(
            NOON - timedelta(minutes=draw(st.integers(0, 14 * 24 * 60))),
            number,
            request_model=draw(st.sampled_from((PRICED, FREE, UNPRICED))),
            project=draw(st.sampled_from(("checkout", "search"))),
            key_fingerprint=draw(st.sampled_from(("a1" * 32, "c3" * 32, ""))),
            outcome=draw(st.sampled_from(Outcome)),
            effort=draw(st.sampled_from((None, "high"))),
            user=draw(st.sampled_from((None, "u-1", "u-2", ""))),
            tags=draw(st.dictionaries(st.sampled_from(("feature", "team")), st.sampled_from(("a", "b", "")))),
            usage=draw(usages(most)),
            parent_id=draw(st.sampled_from((None, None, made().id))),
            refused_by=draw(st.sampled_from((None, None, "all", "o'hara's"))),
        )
        for number in range(draw(st.integers(1, 12)))
    ]


@contextmanager
def fresh(
    database: Database, prices: Sequence[Decimal] = tuple(map(Decimal, range(2, 2 + len(CLASSES))))
) -> Iterator[Books]:
    books = Books(database.store(zone="Asia/Shanghai"))
    books.load(card(prices))
    yield books
    books.close()
    database.drop(books.url)


def card(prices: Sequence[Decimal]) -> str:
    """Classes in order of the columns; a second model whose every price is 0."""
    dear = "\n".join(f"{each.name} = {price:f}" for each, price in zip(CLASSES, prices, strict=True))
    head = 'provider = "wcode"\ncurrency = "USD"\nsource = "test"\n'
    return (
        f'{head}[[rate]]\nmodel = "{PRICED}"\nvalid_from = 2026-01-01\n{dear}\n'
        f'[[rate]]\nmodel = "{FREE}"\nvalid_from = 2026-01-01\ninput = 0\noutput = 0\n'
    )


def reports(books: Books) -> list[Report]:
    by_zone = [books.spend(by, None, None, zone) for by in BY if by not in BY_TAG for zone in ZONES]
    return by_zone + [books.spend(by) for by in ("user", "tag:feature", "tag:team", "tag:nobody")]


def all_calls(books: Books) -> list[BookedCall]:
    with reading(books.engine) as conn:
        return listed(conn, Selection(), limit=1000)


@few
@given(made_calls=some_calls(), data=st.data())
def test_delivering_in_any_order_split_and_number_of_times_equals_once(
    database: Database, made_calls: list[Call], data: st.DataObject
) -> None:
    some = st.lists(st.sampled_from(made_calls), unique_by=lambda call: call.id)
    pieces = data.draw(st.lists(st.tuples(some, st.booleans()), max_size=5))
    last = data.draw(st.permutations(made_calls))
    with fresh(database) as once, fresh(database) as often:
        once.deliver(*made_calls)
        once.roll()
        often.journal.batch(*made_calls)  # numbered as they were made; delivered as follows
        for piece, rolled in [*pieces, (last[:3], True), (last[3:], False), (last, True)]:
            ingest(often.engine, often.journal.batch(*piece), NOON)
            if rolled:
                roll(often.engine, NOON, limit=2)
        often.roll()
        assert reports(often) == reports(once)
        assert all_calls(often) == all_calls(once)
        assert verify(often.engine).balanced
        assert [row["contiguous"] for row in often.rows(sources)] == [len(made_calls)]
        assert often.rows(received_ahead) == []


@few
@given(made_calls=some_calls())
def test_the_books_balance_in_every_dimension(database: Database, made_calls: list[Call]) -> None:
    with fresh(database) as books:
        books.deliver(*made_calls)
        books.roll()
        assert verify(books.engine).differences == ()
        totals = []
        for report in reports(books):
            assert added("total", "", report.lines) == report.total
            totals.append(report.total)
        assert totals == [totals[0]] * len(totals)
        assert totals[0].calls + totals[0].sub_calls == len(made_calls)
        assert totals[0].sub_calls == sum(call.parent_id is not None for call in made_calls)
        flagged = books.spend("anomaly")
        assert flagged.total == totals[0]
        assert {line.id: line.calls + line.sub_calls for line in flagged.lines} == anomalies(books)
        refused = books.spend("refusal")
        assert refused.total == totals[0]
        assert {line.id: line.calls + line.sub_calls for line in refused.lines} == refusals(books)
        assert totals[0].quantities == tuple(
            map(sum, zip(*(call.usage.quantities for call in made_calls), strict=True))
        )


def anomalies(books: Books) -> Counter[str]:
    """How many calls have each."""
    return Counter(name for one in all_calls(books) for name in one.call.usage.anomalies)


def refusals(books: Books) -> Counter[str]:
    """How many calls each budget refused."""
    return Counter(one.call.refused_by for one in all_calls(books) if one.call.refused_by)


def same(one: SpendLine, other: SpendLine) -> bool:
    """Whether two lines are of one group."""
    return (one.id, one.group) == (other.id, other.group)


@few
@given(
    made_calls=some_calls(),
    day=st.dates(date(2026, 11, 8), date(2026, 11, 25)),
    by=st.sampled_from([("key", zone) for zone in ZONES] + [("user", None), ("tag:feature", None)]),
)
def test_any_split_of_a_period_adds_up_to_the_whole(
    database: Database, made_calls: list[Call], day: date, by: tuple[str, ZoneInfo | None]
) -> None:
    with fresh(database) as books:
        books.deliver(*made_calls)
        books.roll()
        before, after, whole = (books.spend(by[0], *days, by[1]) for days in ((None, day), (day, None), (None, None)))
        assert added("total", "", [before.total, after.total]) == whole.total
        for line in whole.lines:
            parts = [part for report in (before, after) for part in report.lines if same(part, line)]
            assert added(line.group, line.id, parts) == line


@few
@given(made_calls=some_calls(), by=st.sampled_from(("model", "user", "tag:feature")))
def test_the_spend_of_every_project_adds_up_to_that_of_all(database: Database, made_calls: list[Call], by: str) -> None:
    with fresh(database) as books:
        books.deliver(*made_calls)
        books.roll()
        projects = {call.project for call in made_calls}
        parts = [books.spend(by, scope=Scope(projects=(str(name),))) for name in projects]
        whole = books.spend(by)
        assert added("total", "", [part.total for part in parts]) == whole.total
        for line in whole.lines:
            some = [part for report in parts for part in report.lines if same(part, line)]
            assert added(line.group, line.id, some) == line


@few
@given(
    made_calls=some_calls(most=10**12),
    prices=st.lists(st.decimals(0, 1000, places=9), min_size=len(CLASSES), max_size=len(CLASSES)),
)
def test_money_is_exact_to_the_last_digit(database: Database, made_calls: list[Call], prices: list[Decimal]) -> None:
    expected = sum((cost(call, prices) for call in made_calls if call.request_model == PRICED), Fraction())
    with fresh(database, prices) as books:
        books.deliver(*made_calls)
        books.roll()
        spent = books.spend("model").total.spent
        assert Fraction(spent.get("USD", Decimal(0))) == expected
        assert sum((Fraction(one.cost.amount) for one in all_calls(books) if one.cost), Fraction()) == expected
        for table in (spend_days, spend_quarters):
            amounts = (Fraction(row["amount"]) for row in books.rows(table) if row["amount"] is not None)
            assert sum(amounts, Fraction()) == expected


def cost(call: Call, prices: Sequence[Decimal]) -> Fraction:
    """The call's cost by common fractions, each token charged once."""
    n = call.usage.quantities
    fresh = n.input - n.cache_read - n.cache_write - n.audio_input - n.image_input
    answer = n.output - n.reasoning - n.audio_output - n.image_output
    charged = (fresh, n.cache_read, n.cache_write - n.cache_write_1h, answer, *n[4:])
    return sum((count * Fraction(price) for count, price in zip(charged, prices, strict=True)), Fraction()) / 1000
