"""What providers stated beside ours: read from sums, and equal to what the calls say one by one."""

import json
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import RowMapping

from accounting import ratebook
from accounting.comparison import EXPLAINED, NOT_COMPARED, Comparison, Line, Part, compare
from accounting.errors import ConfigurationError
from accounting.extraction import extract
from accounting.money import ZERO, Money
from accounting.rates import Rate, price
from accounting.rebuild import rebuild
from accounting.rerating import Which, rerate
from accounting.spend_rows import Scope
from accounting.stated import StatedAs
from accounting.store import reading, tables, writing
from accounting.store.tables import calls, spend_by_tag
from accounting.usage import COUNTED, Call, Quantities, Usage, UsageSource
from accounting.verify import verify
from tests.books import NOON, Books, made, used
from tests.spending import emptied, spending

few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

XAI = """
provider = "xai"
currency = "USD"
source = "test"
[[rate]]
model = "grok-4.3"
valid_from = 2026-01-01
input = 0.00125
cache_read = 0.0002
output = 0.0025
"""

OPENROUTER = """
provider = "openrouter"
currency = "USD"
source = "test"
[[rate]]
model = "anthropic/claude"
valid_from = 2026-01-01
input = 0.005
output = 0.025
"""

GROK = {
    **{"prompt_tokens": 31721, "completion_tokens": 761, "total_tokens": 32929, "num_sources_used": 0},
    "prompt_tokens_details": {"text_tokens": 31721, "cached_tokens": 128},
    "completion_tokens_details": {"reasoning_tokens": 447},
    "cost_in_usd_ticks": 425_368_500,
}
CLAUDE: dict[str, Any] = {
    "prompt_tokens": 4100,
    "completion_tokens": 120,
    "total_tokens": 4220,
    "cost": 0.0235,
    "is_byok": False,
}
OWN_KEY = CLAUDE | {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0235}}
SEARCHED = CLAUDE | {"cost": 0.0335, "server_tool_use_details": {"web_search_requests": 2}}


def answered(number: int, block: dict[str, Any], provider: str = "openrouter", model: str = "anthropic/claude") -> Call:
    body = {"id": "1", "object": "chat.completion", "model": model, "choices": [], "usage": block}
    usage = extract(json.dumps(body).encode(), provider=provider, path="v1/chat/completions")
    return made(number=number, provider=provider, request_model=model, usage=usage)


def compared(books: Books, first: date | None = None, end: date | None = None, scope: Scope = Scope()) -> Comparison:  # noqa: B008
    books.roll()
    with reading(books.engine) as conn:
        return compare(conn, first, end, scope, now=NOON)


def line(found: Comparison, model: str) -> Line:
    (one,) = (one for one in found.lines if one.model == model)
    return one


def test_the_ticks_of_xai_are_our_price_to_the_last_digit(books: Books) -> None:
    books.load(XAI)
    odd = GROK | {"cost_in_usd_ticks": 425_368_501}
    books.deliver(answered(1, GROK, "xai", "grok-4.3"), answered(2, odd, "xai", "grok-4.3"))
    found = line(compared(books), "grok-4.3")
    cost, tick = Decimal("0.04253685"), Decimal("1e-10")
    assert found.parts == {
        StatedAs.EQUAL: Part(1, cost, cost),
        StatedAs.ROUNDING: Part(1, cost, cost + tick),
    }
    assert (found.explained, found.unexplained, found.share_explained) == (tick, ZERO, Decimal(1))


def test_openrouter_s_fee_for_a_key_of_one_s_own_and_its_searches_are_explained(books: Books) -> None:
    books.load(OPENROUTER)
    wrong = CLAUDE | {"cost": 0.0245}
    books.deliver(*(answered(number, block) for number, block in enumerate((CLAUDE, OWN_KEY, SEARCHED, wrong))))
    found = line(compared(books), "anthropic/claude")
    assert {how: part.difference for how, part in found.parts.items()} == {
        StatedAs.EQUAL: 0,
        StatedAs.BYOK: Decimal("-0.0225"),
        StatedAs.TOOLS: Decimal("0.01"),
        StatedAs.HIGHER: Decimal("0.001"),
    }
    assert found.compared == Part(4, Decimal("0.094"), Decimal("0.0825"))
    assert (found.explained, found.unexplained) == (Decimal("0.0325"), Decimal("0.001"))
    assert found.share_explained == Decimal("0.970")


def test_of_one_reason_and_model_pluses_and_minuses_even_out(books: Books) -> None:
    books.load(XAI)
    ticks = (GROK | {"cost_in_usd_ticks": 425_368_500 + by} for by in (1, -1))
    books.deliver(*(answered(number, block, "xai", "grok-4.3") for number, block in enumerate(ticks)))
    found = line(compared(books), "grok-4.3")
    cost = Decimal("0.08507370")
    assert found.parts == {StatedAs.ROUNDING: Part(2, cost, cost)}
    assert (found.explained, found.share_explained) == (ZERO, None)


def test_a_key_of_one_s_own_explains_no_price_that_is_wrong(books: Books) -> None:
    books.load(OPENROUTER)
    cheaper, unsaid = ({"cost_details": {"upstream_inference_cost": bill}} for bill in (0.0001, None))
    books.deliver(answered(1, OWN_KEY | cheaper), answered(2, OWN_KEY | unsaid), answered(3, OWN_KEY))
    found = line(compared(books), "anthropic/claude")
    apart = Decimal("-0.0225")
    assert {how: part.difference for how, part in found.parts.items()} == {
        StatedAs.BYOK_LOWER: apart,
        StatedAs.BYOK_UNCHECKED: apart,
        StatedAs.BYOK: apart,
    }
    assert (found.explained, found.unexplained) == (2 * -apart, -apart)
    assert verify(books.engine).differences == ()


def stating(number: int, cost: str, currency: str = "CNY", **changes: Any) -> Call:
    """Of 0.018 CNY by the shipped rate, if nothing else is said."""
    return made(number=number, usage=used(1000, 200)._replace(provider_cost=Money(Decimal(cost), currency)), **changes)


def test_what_one_call_is_over_does_not_make_up_for_what_another_is_under(books: Books) -> None:
    books.deliver(stating(1, "0.02"), stating(2, "0.016"))
    (total,) = compared(books).totals
    assert (total.compared.difference, total.unexplained, total.share_explained) == (ZERO, Decimal("0.004"), ZERO)


def test_what_has_nothing_of_ours_beside_it_is_in_no_difference(books: Books) -> None:
    books.deliver(stating(1, "0.018"), stating(2, "0.5", request_model="nobody/knows"), stating(3, "3", "USD"))
    found = compared(books)
    lines = {(one.model, one.currency): one for one in found.lines}
    assert lines["nobody/knows", "CNY"].parts == {StatedAs.UNPRICED: Part(1, stated=Decimal("0.5"))}
    assert lines["z-ai/glm-5", "USD"].parts == {StatedAs.OTHER_CURRENCY: Part(1, stated=Decimal(3))}
    assert {total.currency: (total.calls, total.compared, total.not_compared.stated) for total in found.totals} == {
        "CNY": (2, Part(1, Decimal("0.018"), Decimal("0.018")), Decimal("0.5")),
        "USD": (1, Part(), Decimal(3)),
    }
    assert all(one.share_explained is None for one in (*found.lines, *found.totals))


def test_calls_without_a_stated_cost_are_counted_beside(books: Books) -> None:
    books.deliver(stating(1, "0.018"), made(number=2), made(number=3, parent_id=made(number=2).id))
    found = compared(books)
    assert (found.calls, sum(one.calls for one in found.lines)) == (3, 1)


def test_only_the_days_and_projects_that_were_asked_for_are_compared(books: Books) -> None:
    yesterday = NOON - timedelta(days=1)
    books.deliver(stating(1, "0.018"), stating(2, "0.02", project="search"), stating(3, "0.03", started_at=yesterday))
    found = compared(books, NOON.date(), None, Scope(projects=("search",)))
    assert [one.compared.stated for one in found.lines] == [Decimal("0.02")]
    assert found.calls == 1
    assert compared(books, None, NOON.date()).lines[0].compared.stated == Decimal("0.03")
    with pytest.raises(ConfigurationError, match="kept by project, not by key"):
        compared(books, scope=Scope(keys=("a1b2",)))


@pytest.mark.parametrize(
    ("explained", "unexplained", "share"),
    [("1", "0", "1"), ("0", "1", "0"), ("2", "1", "0.666"), ("99999", "0.01", "0.999"), ("0", "0", None)],
)
def test_a_share_is_whole_only_where_nothing_is_left(explained: str, unexplained: str, share: str | None) -> None:
    found = Line("p", "m", "USD", {}, Decimal(explained), Decimal(unexplained))
    assert found.share_explained == (None if share is None else Decimal(share))


def test_no_call_is_read_however_many_there_are(books: Books) -> None:
    books.deliver(stating(1, "0.018"), stating(2, "0.5", request_model="nobody/knows"))
    books.roll()
    with books.asked() as statements:
        compared(books)
    read = [statement for statement, _ in statements if "spend_by_tag" in statement]
    assert len(read) == 1
    assert not any("FROM calls" in statement for statement, _ in statements)


COSTS = st.decimals(0, 1, places=6) | st.sampled_from((Decimal("0.018"), Decimal("0.0180000000000000001")))
OWN = '{"is_byok":true,"cost_details":{"upstream_inference_cost":0.018}}'
BLOCKS = st.sampled_from((None, OWN, '{"is_byok":true}', '{"num_sources_used":3}', '{"request_cost":0.01}'))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cost = draw(st.none() | st.builds(Money, COSTS, st.sampled_from(("CNY", "USD"))))
    source = draw(st.sampled_from((UsageSource.PROVIDER, UsageSource.PROVIDER, UsageSource.PARTIAL)))
    used = Usage(draw(st.sampled_from((0, 1000))), None, None, 200, None, source, (), draw(BLOCKS), cost)
    return used._replace(web_searches=draw(st.sampled_from((None, 2))))


@st.composite
def some_calls(draw: st.DrawFn) -> list[Call]:
    """Few enough groups for several calls to meet in one."""
    return [
        made(
            NOON - timedelta(hours=draw(st.integers(0, 30))),
            number,
            provider=draw(st.sampled_from(("wcode", "open router"))),
            request_model=draw(st.sampled_from(("z-ai/glm-5", "nobody knows"))),
            project=draw(st.sampled_from(("checkout", "search"))),
            tags=draw(st.sampled_from(({}, {"feature": "rerank"}))),
            usage=draw(usages()),
        )
        for number in range(draw(st.integers(1, 10)))
    ]


def by_calls(books: Books) -> list[Line]:
    """The same from the calls, one by one."""
    with reading(books.engine) as conn:
        rates = {rate.id: rate for rate in ratebook.rates(conn)}
    rows = [row for row in books.rows(calls) if row["provider_cost"] is not None]
    names = {(row["provider"], row["model"], row["provider_cost_currency"]) for row in rows}
    return [_line(name, [row for row in rows if _named(row) == name], rates) for name in sorted(names)]


def _named(row: Any) -> tuple[str, str, str]:
    return row["provider"], row["model"], row["provider_cost_currency"]


def _line(name: tuple[str, str, str], rows: Iterable[RowMapping | dict[str, Any]], rates: dict[int, Rate]) -> Line:
    parts: dict[str, Part] = {}
    for row in rows:
        parts[row["stated_as"]] = parts.get(row["stated_as"], Part()) + _part(row, rates)
    apart = {how: abs(part.stated - part.ours) for how, part in parts.items() if how not in NOT_COMPARED}
    explained = sum((apart.pop(how) for how in EXPLAINED if how in apart), Decimal(0))
    return Line(*name, parts, explained, sum(apart.values(), Decimal(0)))


def _part(row: Any, rates: dict[int, Rate]) -> Part:
    if row["stated_as"] in NOT_COMPARED:
        return Part(1, stated=row["provider_cost"])
    used = Quantities(*(row[name] or 0 for name in COUNTED))
    return Part(1, price(used, rates[row["rate_id"]]).amount, row["provider_cost"])


def in_order(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda one: (one.provider, one.model, one.currency))


NEWER = """
provider = "wcode"
currency = "{currency}"
source = "a newer list"
[[rate]]
model = "z-ai/glm-5"
valid_from = 2026-06-01
input = {price}
output = 0.02
"""


@few
@given(some=some_calls(), rolled=st.integers(0, 10), currency=st.sampled_from(("CNY", "USD")), price=st.integers(0, 9))
def test_the_sums_are_what_the_calls_say_before_and_after_they_are_priced_anew_and_again_as_before(
    books: Books, some: list[Call], rolled: int, currency: str, price: int
) -> None:
    forget_newer(emptied(books))
    books.deliver(*some[:rolled])
    books.roll()
    books.deliver(*some[rolled:])
    before, sums = compared(books).lines, spending(books)
    assert in_order(before) == by_calls(books)
    books.load(NEWER.format(currency=currency, price=price))
    rerated(books)
    assert in_order(compared(books).lines) == by_calls(books)
    assert verify(books.engine).differences == ()
    forget_newer(books)
    rerated(books)
    assert (compared(books).lines, spending(books)) == (before, sums)


def rerated(books: Books) -> None:
    rerate(books.engine, Which(model="*"), lambda: NOON, "ann", "a newer list")


def forget_newer(books: Books) -> None:
    newer = {row["id"] for row in books.rows(tables.rates) if row["source"] == "a newer list"}
    held = {row["id"] for row in books.rows(tables.rates) if row["withdrawn_at"] is None}
    with writing(books.engine) as conn:
        ratebook.withdraw(conn, newer & held, NOON, "ann", "an experiment")


def test_damaged_sums_are_named_and_made_anew_from_the_calls(books: Books) -> None:
    books.deliver(stating(1, "0.018"), stating(2, "0.02"), stating(3, "0.5", request_model="nobody/knows"))
    found, sums = compared(books), spending(books)
    books.overwrite(spend_by_tag, "stated", Decimal("0.0000000000000000001"))
    assert [one.column for one in verify(books.engine).differences] == ["stated"]
    assert compared(books) != found
    rebuild(books.engine)
    assert (compared(books), spending(books)) == (found, sums)
