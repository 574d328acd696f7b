"""Other names of models: what rules make of them, and which rules are none."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import aliases
from accounting.aliases import LONGEST, NAMES, STEPS, Aliases, Rule, contradicted, is_among, refuse_circle
from accounting.errors import RateCardError
from accounting.periods import Period
from accounting.rates import Rate
from accounting.resolution import RateBook

SHIPPED = Aliases(aliases.shipped())
VENDOR = Rule("", "{vendor}/{model}", "{model}")
DATED = Rule("", "{model}-{date}", "{model}")


def names(rules: list[Rule], model: str, provider: str = "acme") -> list[str]:
    return [name for name, _ in Aliases(rules).names(provider, model)]


@pytest.mark.parametrize(
    ("provider", "name", "becomes"),
    [
        (rule.provider or "acme", name, list(becomes))
        for rule, examples in aliases.with_examples()
        for name, becomes in examples.items()
    ],
)
def test_a_shipped_rule_makes_of_its_examples_what_it_says(provider: str, name: str, becomes: list[str]) -> None:
    assert [made for made, _ in SHIPPED.names(provider, name)] == becomes


def test_each_shipped_rule_has_an_example_that_it_is_for_and_a_reason() -> None:
    for rule, examples in aliases.with_examples():
        assert any(rule.form.fits(name) for name in examples), rule
        assert ": " in rule.source or "own" in rule.source, rule


def test_no_shipped_rule_contradicts_another() -> None:
    rules = aliases.shipped()
    assert [rule for rule in rules if contradicted(rule, rules)] == []
    assert len(rules) == len({(rule.provider, rule.pattern) for rule in rules})


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("openrouter", "z-ai/glm-5:free"),
        ("openrouter", "openai/gpt-4o:batch"),
        ("openai", "ft:gpt-4o-mini:acme::7p4lURel"),
        ("openai", "gpt-4o-2024-05-13"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "global.anthropic.claude-opus-5"),
        ("bedrock", "arn:aws:bedrock:us-east-1:1:application-inference-profile/claude-opus-5"),
        ("fireworks", "accounts/acme/models/glm-5"),
        ("bedrock", "us-gov-east-1/anthropic.claude-opus-5"),
        ("azure", "eu/gpt-4o"),
        ("perplexity", "perplexity/sonar"),
        ("mistral", "mistral-small-latest"),
    ],
)
def test_a_variant_with_another_price_never_gets_its_models_rate(provider: str, name: str) -> None:
    plain = ["glm-5", "z-ai/glm-5", "openai/gpt-4o", "gpt-4o", "gpt-4o-mini", "sonar", "mistral-small", "claude-opus-5"]
    bedrock = ["anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-sonnet-4-5", "anthropic.claude-opus-5"]
    book = RateBook([rate(provider, model) for model in (*plain, *bedrock)], SHIPPED)
    assert book.find(provider, name, datetime(2026, 11, 1, tzinfo=UTC)) is None


def rate(provider: str, model: str) -> Rate:
    since = Period(datetime(2026, 1, 1, tzinfo=UTC), None)
    one = Decimal(1)
    return Rate(provider=provider, model=model, currency="USD", period=since, input_per_1k=one, output_per_1k=one)


def test_the_nearest_name_comes_first() -> None:
    assert names([VENDOR, DATED], "openai/gpt-4o-2024-08-06") == ["openai/gpt-4o", "gpt-4o-2024-08-06", "gpt-4o"]


def test_each_name_comes_with_the_rules_that_led_to_it() -> None:
    found = dict(Aliases([VENDOR, DATED]).names("acme", "openai/gpt-4o-2024-08-06"))
    assert found["gpt-4o"] == (DATED, VENDOR)


def test_a_rule_of_one_provider_is_for_no_other() -> None:
    mine = Rule("azure", "our-chat", "gpt-4o")
    assert names([mine], "our-chat", "azure") == ["gpt-4o"]
    assert names([mine], "our-chat", "openai") == []


def test_the_providers_own_rule_goes_first() -> None:
    assert names([Rule("", "a", "b"), Rule("acme", "a", "c")], "a") == ["c", "b"]


def test_of_a_name_that_has_its_own_price_only_what_says_more_leads_on() -> None:
    own = Rule("", "ft:{model}", "")
    assert names([own, DATED, VENDOR], "ft:org/gpt-4o-2024-08-06") == []
    assert names([own, DATED, Rule("", "ft:gpt-4o-2024-08-06", "ours")], "ft:gpt-4o-2024-08-06") == ["ours"]
    assert names([own, DATED, Rule("acme", "ft:{model}", "tuned")], "ft:gpt-4o") == ["tuned"]


def test_two_that_lead_to_each_other_come_to_an_end() -> None:
    assert names([Rule("", "a", "b"), Rule("", "b", "a")], "a") == ["b"]


def test_rules_that_lead_on_and_on_are_left_after_a_few_steps() -> None:
    assert names([Rule("", "{m}", "{m}x")], "a") == ["ax", "axx", "axxx", "axxxx"]
    many = [Rule("", "{m}", f"{{m}}{n}") for n in range(40)]
    assert len(names(many, "a")) == NAMES


def test_a_name_that_grows_beyond_any_is_none() -> None:
    assert names([Rule("", "{m}", "{m}{m}")], "a" * 60) == ["a" * 120]
    assert names([VENDOR], f"v/{'m' * LONGEST}") == []


@pytest.mark.parametrize(
    "hostile", ["-" * LONGEST, "a-" * (LONGEST // 2), "/" * LONGEST, "x" * 1_000_000, "20240101" * 25]
)
def test_a_hostile_name_takes_no_time(hostile: str) -> None:
    rules = Aliases([*aliases.shipped(), Rule("", "{a}-{b}-{date}", "{b}"), Rule("", "{a}-{b}!", "{a}")])
    begun = time.perf_counter()
    rules.names("bedrock", hostile)
    assert time.perf_counter() - begun < 0.1


@pytest.mark.parametrize(
    ("pattern", "target", "said"),
    [
        ("", "m", "pattern of an alias is empty"),
        ("{vendor}/{model}", "{modle}", "has {modle}, which '{vendor}/{model}' has not; it has {vendor}, {model}"),
        ("our-chat", "{model}", "it has none"),
        ("m", "m", "leads to itself"),
        ("{m}", "{m}", "leads to itself"),
        ("{m}{n}", "{m}", "nobody could say where one part of it ends"),
        ("{m}/{m}", "{m}", "has a part twice"),
        ("{a}/{b}/{c}", "{c}", "at most 2"),
        ("gpt-*", "gpt", "any text is written in braces"),
        ("gpt-{}", "gpt", "each brace to be of a part"),
        ("gpt-{model", "gpt", "each brace to be of a part"),
        ("{model.__class__}-x", "gpt", "each brace to be of a part"),
        (" gpt", "gpt-4", "without blanks around it"),
        ("gpt\n", "gpt-4", "without blanks around it"),
        ("g" * 201, "gpt", "201 characters; expected at most 200"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(pattern: str, target: str, said: str) -> None:
    with pytest.raises(RateCardError) as refused:
        Rule("", pattern, target)
    assert said in str(refused.value)


def test_what_a_rule_says_is_text_and_never_an_expression() -> None:
    assert names([Rule("", "a.c({m}", "\\1{m}$")], "a.c(x") == ["\\1x$"]
    assert names([Rule("", "a.c({m}", "{m}")], "abc(x") == []


def test_a_date_is_a_day_and_no_other_number() -> None:
    assert [names([DATED], f"m-{day}") for day in ("2024-08-06", "20240806")] == [["m"], ["m"]]
    assert [names([DATED], f"m-{day}") for day in ("2024-0806", "2024-13-06", "0613", "20240832")] == [[]] * 4


def test_rules_are_the_same_whatever_their_parts_are_called() -> None:
    assert is_among(Rule("", "{a}/{b}", "{b}"), [VENDOR])
    assert not is_among(Rule("", "{a}/{b}", "{a}"), [VENDOR])
    assert contradicted(Rule("", "{a}/{b}", "{a}"), [VENDOR]) == VENDOR
    assert contradicted(Rule("", "{a}/{b}", ""), [VENDOR]) == VENDOR
    assert contradicted(Rule("acme", "{a}/{b}", "{a}"), [VENDOR]) is None
    assert contradicted(Rule("", "{model}-{day}", "x"), [DATED]) is None


pieces = st.sampled_from(["a", "b", "-", "/", "{x}", "{y}", "{date}", "2024-08-06", "gpt"])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Any rule that can be used."""
    provider = draw(st.sampled_from(["", "acme", "other"]))
    try:
        return Rule(provider, "".join(draw(st.lists(pieces, max_size=5))), "".join(draw(st.lists(pieces, max_size=4))))
    except RateCardError:
        return DATED


model_names = st.lists(st.sampled_from(["a", "b", "-", "/", "2024-08-06", "gpt"]), max_size=12).map("".join)


@given(st.lists(rules(), max_size=8), model_names)
def test_whatever_the_rules_each_other_name_comes_once_and_never_the_models_own(some: list[Rule], model: str) -> None:
    found = Aliases(some).names("acme", model)
    made = [name for name, _ in found]
    assert model not in made
    assert len(made) == len(set(made)) <= NAMES
    assert all(name and len(name) <= LONGEST for name in made)
    assert all(1 <= len(led) <= STEPS for _, led in found)


@given(st.lists(rules(), max_size=8), model_names)
def test_whatever_the_rules_they_lead_one_after_the_other_to_the_name(some: list[Rule], model: str) -> None:
    for name, led in Aliases(some).names("acme", model):
        reached = model
        for rule in led:
            reached = rule.of("acme", reached) or "?"
        assert reached == name


@given(st.lists(rules(), max_size=4), model_names)
def test_the_order_in_which_rules_were_added_is_of_no_account(some: list[Rule], model: str) -> None:
    assert len({tuple(Aliases(order).names("acme", model)) for order in permutations(some)}) == 1


@pytest.mark.parametrize(
    ("there", "added", "said"),
    [
        (Rule("", "a", "b", "", 7), Rule("", "b", "a"), "from 'a' back leads alias 7, a → b"),
        (Rule("acme", "a", "b", "", 7), Rule("", "b", "a"), "aliases withdraw 7"),
        (Rule("", "{m}-x", "{m}-y", "", 7), Rule("", "{m}-y", "{m}-x"), "leads in a circle"),
        (VENDOR, Rule("", "{m}", "{m}x"), "leads on to '2024-08-06xx' from '2024-08-06x'"),
        (VENDOR, Rule("", "{m}-a", "{m}-b-a"), "Have its pattern say more"),
    ],
)
def test_a_rule_that_leads_in_a_circle_or_on_and_on_is_refused(there: Rule, added: Rule, said: str) -> None:
    with pytest.raises(RateCardError) as refused:
        refuse_circle(added, [there])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("there", "added"),
    [
        (VENDOR, Rule("", "gpt-4o", "openai/gpt-4o")),
        (Rule("acme", "a", "b"), Rule("azure", "b", "a")),
        (Rule("", "a", ""), Rule("", "b", "a")),
        (Rule("", "gpt-4o", "openai/gpt-4o"), VENDOR),
    ],
)
def test_a_name_that_a_rule_for_more_names_leads_back_from_is_no_circle(there: Rule, added: Rule) -> None:
    refuse_circle(added, [there])


def test_no_shipped_rule_leads_in_a_circle() -> None:
    for rule in aliases.shipped():
        refuse_circle(rule, [one for one in aliases.shipped() if one != rule])
