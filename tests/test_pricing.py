"""`accounting.price`: what a call costs, without any books."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import accounting
from accounting.errors import ConfigurationError, RateCardError, RateMissing, UsageInvalid, UsageMissing
from accounting.money import Money, plain
from accounting.periods import Period
from accounting.rates import Rate
from accounting.usage import Quantities, Usage, UsageSource

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

CARD = """
provider = "acme"
currency = "USD"
source = "price list of March"

[[rate]]
model = "large"
valid_from = 2026-03-01
input = 0.002
output = 0.01

[[rate]]
model = "large"
valid_from = 2026-03-01
context_above = 200000
input = 0.004
output = 0.02

[[rate]]
model = "large"
valid_from = 2026-03-01
service_tier = "batch"
input = 0.001
output = 0.005

[[rate]]
model = "large"
valid_from = 2026-05-01
input = 0.003
output = 0.012

[[rate]]
model = "tiny-*"
valid_from = 2026-03-01
input = 0.0001
output = 0.0002
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    file = tmp_path / "acme.toml"
    file.write_text(CARD)
    return file


def a_rate(provider: str, model: str, input_: str = "1") -> Rate:
    return Rate(
        provider=provider,
        model=model,
        currency="USD",
        period=Period(MARCH, None),
        input_per_1k=Decimal(input_),
        output_per_1k=Decimal(0),
    )


THOUSAND = Quantities(input=1000)


def test_what_extract_says_is_priced_by_the_shipped_cards() -> None:
    usage = accounting.extract(
        {"object": "chat.completion", "usage": {"prompt_tokens": 15, "completion_tokens": 210, "total_tokens": 225}}
    )
    charge = accounting.price(usage, "z-ai/glm-5", provider="wcode")
    assert charge.total == Money(Decimal("0.007515"), "CNY")
    assert charge.rate.source == "https://wcode.net price list, February 2026"
    assert accounting.price(usage, "z-ai/glm-5") == charge
    assert charge.is_whole


def test_a_price_holds_from_its_first_microsecond_to_its_last(card: Path) -> None:
    may = datetime(2026, 5, 1, tzinfo=UTC)
    book = accounting.rate_book(card)
    assert [
        plain(accounting.price(THOUSAND, "large", at, rates=book).total.amount)
        for at in (MARCH, may - timedelta(microseconds=1), may, may + SECOND)
    ] == ["0.002", "0.002", "0.003", "0.003"]


def test_the_time_may_be_of_any_zone_and_must_say_which(card: Path) -> None:
    shanghai = datetime(2026, 5, 1, 7, 59, 59, tzinfo=timezone(timedelta(hours=8)))
    assert accounting.price(THOUSAND, "large", shanghai, rates=card).total.amount == Decimal("0.002")
    with pytest.raises(ConfigurationError, match="offset"):
        accounting.price(THOUSAND, "large", datetime(2026, 5, 1), rates=card)  # noqa: DTZ001 - the point of it


@pytest.mark.parametrize(("tokens", "amount"), [(199_999, "0.399998"), (200_000, "0.4"), (200_001, "0.800004")])
def test_a_call_above_a_context_tier_is_at_that_tier_as_a_whole(card: Path, tokens: int, amount: str) -> None:
    charge = accounting.price(Quantities(input=tokens, cache_read=tokens), "large", MARCH, rates=card)
    assert charge.total.amount == Decimal(amount)


def test_a_model_may_be_called_by_one_of_its_other_names(card: Path) -> None:
    charge = accounting.price(Usage(input_tokens=1000), "acme/large-2026-03-01", MARCH, provider="acme", rates=card)
    assert (charge.rate.model, charge.total.amount) == ("large", Decimal("0.002"))


def test_the_service_tier_is_the_one_that_served(card: Path) -> None:
    def at_tier(name: str | None) -> str:
        return plain(accounting.price(THOUSAND, "large", MARCH, service_tier=name, rates=card).total.amount)

    assert [at_tier(name) for name in (None, "default", "Batch")] == ["0.002", "0.002", "0.001"]
    with pytest.raises(RateMissing, match="not for the service tier 'priority', but for batch, the standard one"):
        at_tier("priority")


def test_rates_may_be_files_lines_or_a_book(card: Path) -> None:
    line = a_rate("other", "own")
    both: list[Path | Rate] = [card, line]
    given: list[Any] = [card, str(card), both, accounting.rate_book(both)]
    for rates in given:
        assert accounting.price(THOUSAND, "large", MARCH, rates=rates).total.amount == Decimal("0.002")
    assert accounting.price(THOUSAND, "own", MARCH, rates=line).rate == line


def test_a_provider_is_needed_only_where_several_have_the_model() -> None:
    lines = [a_rate("azure", "gpt"), a_rate("openai", "gpt"), a_rate("openrouter", "openai/gpt"), a_rate("x", "g*")]
    book = accounting.rate_book(lines)

    def provider(model: str, named: str | None = None) -> str:
        return accounting.price(THOUSAND, model, MARCH, provider=named, rates=book).rate.provider

    assert provider("gpt", "azure") == "azure"
    assert provider("openai/gpt") == "openrouter"  # its own name for it
    assert provider("azure/gpt") == "azure"
    assert provider("glm") == "x"
    with pytest.raises(ConfigurationError, match="each of these providers: azure, openai"):
        provider("gpt")


@pytest.mark.parametrize(
    ("model", "provider", "said"),
    [
        ("largo", None, "near it: large"),
        ("LARGE", None, "near it: large"),
        ("large", "ACME", "near it: acme"),
        ("unheard-of", None, "there are large, tiny-*"),
        ("large", "acne", "no provider of the rate cards is called 'acne'; near it: acme"),
        ("large", "zzz", "there are acme"),
    ],
)
def test_a_model_without_a_rate_is_answered_with_what_is_near_and_what_to_do(
    card: Path, model: str, provider: str | None, said: str
) -> None:
    with pytest.raises(RateMissing) as raised:
        accounting.price(THOUSAND, model, MARCH, provider=provider, rates=card)
    assert said in str(raised.value)
    assert "accounting rates load" in str(raised.value)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"at": "2026-11-20"}, TypeError, "at is a str, 2026-11-20; expected a datetime with an offset"),
        ({"at": date(2026, 11, 20)}, TypeError, "at is a date, 2026-11-20; expected a datetime"),
        ({"model": None}, TypeError, "model is a NoneType; expected its name"),
        ({"model": " "}, ConfigurationError, "The model is empty"),
        ({"provider": 5}, TypeError, "provider is a int; expected a text, or None"),
        ({"service_tier": 5}, TypeError, "service_tier is a int"),
        ({"rates": 5}, TypeError, "rates is a int; expected rate cards' files"),
        ({"rates": [5]}, TypeError, "One of the rates is a int; expected a rate card's file"),
    ],
)
def test_what_is_of_the_wrong_type_is_named_with_what_was_expected(
    asked: dict[str, Any], error: type[Exception], said: str
) -> None:
    given: dict[str, Any] = {"model": "z-ai/glm-5", **asked}
    with pytest.raises(error, match=said):
        accounting.price(THOUSAND, **given)


def test_before_the_first_rate_there_is_none_and_the_error_says_which_there_are(card: Path) -> None:
    with pytest.raises(RateMissing, match=r"at 2026-02-28 23:59:59Z none .* acme/large from 2026-05-01"):
        accounting.price(THOUSAND, "large", MARCH - SECOND, rates=card)


@pytest.mark.parametrize(
    "usage", [None, Usage(), Usage(source=UsageSource.PROVIDER), accounting.extract({"object": "nothing"})]
)
def test_unknown_usage_has_no_price_and_above_all_not_0(usage: Usage) -> None:
    with pytest.raises(UsageMissing, match="not nothing"):
        accounting.price(usage, "z-ai/glm-5")


def test_of_usage_that_is_known_in_part_the_price_is_the_least() -> None:
    part = Usage(input_tokens=15, output_tokens=1, source=UsageSource.PARTIAL)
    assert not accounting.price(part, "z-ai/glm-5").is_whole
    assert accounting.price(part._replace(source=UsageSource.PROVIDER), "z-ai/glm-5").is_whole
    assert accounting.price(Usage(input_tokens=15, output_tokens=1), "z-ai/glm-5").is_whole
    assert not accounting.price(part._replace(source="partial"), "z-ai/glm-5").is_whole  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("usage", "is_whole"),
    [
        (Usage(input_tokens=5), False),
        (Usage(output_tokens=5), False),
        (Usage(input_tokens=5, output_tokens=0), True),
        (Usage(images=1), True),
        (Quantities(input=5), True),
    ],
)
def test_an_output_that_nobody_stated_is_not_an_output_of_0(usage: Usage | Quantities, is_whole: bool) -> None:
    line = replace(a_rate("acme", "m"), image_per_1k=Decimal(40))
    assert accounting.price(usage, "m", rates=line).is_whole is is_whole


@pytest.mark.parametrize(
    ("used", "said"),
    [
        (Quantities(input=10, cache_read=6, cache_write=5), "cache_read 6, cache_write 5"),
        (Quantities(input=-1), "input is -1"),
        (Quantities(output=1.5), "output is 1.5"),  # type: ignore[arg-type]
        (Quantities(input=10**12 + 1), "expected a whole number from 0 to 1,000,000,000,000"),
    ],
)
def test_counts_that_can_t_be_are_refused(used: Quantities, said: str) -> None:
    with pytest.raises(UsageInvalid, match=said):
        accounting.price(used, "z-ai/glm-5")


def test_a_unit_without_a_price_is_named_and_alone_it_has_none() -> None:
    charge = accounting.price(Quantities(input=1000, web_searches=2), "z-ai/glm-5")
    assert (charge.total.amount, charge.unpriced, charge.is_whole) == (Decimal("0.011"), {"web_searches": 2}, False)
    with pytest.raises(RateMissing, match="has no price for web searches"):
        accounting.price(Quantities(web_searches=2), "z-ai/glm-5")


def test_a_card_that_is_wrong_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        accounting.price(THOUSAND, "m", rates=tmp_path / "none.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff")
    with pytest.raises(RateCardError, match="UTF-8"):
        accounting.rate_book([tmp_path / "odd.toml"])


def test_without_a_date_it_is_the_price_of_now() -> None:
    now = datetime.now(UTC)
    past, present = (a_rate("acme", "m", price) for price in ("1", "2"))
    lines = [past, replace(present, period=Period(now - timedelta(minutes=1), None))]
    assert accounting.price(THOUSAND, "m", rates=lines).total.amount == 2


def test_a_price_needs_no_library_of_the_store() -> None:
    code = (
        "import sys, accounting; "
        "accounting.price(accounting.Usage(input_tokens=15, output_tokens=210), 'z-ai/glm-5'); "
        "print(sorted({'httpx', 'pydantic', 'sqlalchemy', 'alembic', 'apscheduler', 'rich', 'typer'} "
        "& set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
