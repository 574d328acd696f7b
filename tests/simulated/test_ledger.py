from decimal import Decimal

from accounting.simulated.ledger import PRICES, Price, Tokens, amount, cost, costs, price_of, total


def test_the_recorded_answer_costs_what_its_price_list_says() -> None:
    assert amount(cost(Tokens(15, 0, 0, 210, 210), PRICES["z-ai/glm-5"])) == Decimal("0.007515")


def test_each_token_is_charged_once_in_its_own_class() -> None:
    price = Price("USD", fresh=1, cache_read=10, cache_write=100, answer=1000, reasoning=10_000)

    assert cost(Tokens(input=9, cache_read=3, cache_write=2, output=7, reasoning=5), price) == (
        4 * 1 + 3 * 10 + 2 * 100 + 2 * 1000 + 5 * 10_000
    )


def test_tokens_add_up_class_by_class() -> None:
    assert total([Tokens(1, 2, 3, 4, 5), Tokens(10, 20, 30, 40, 50)]) == Tokens(11, 22, 33, 44, 55)
    assert total([]) == Tokens()


def test_costs_keep_currencies_apart_and_leave_out_what_has_no_price() -> None:
    used = [("z-ai/glm-5", Tokens(15, 0, 0, 210, 210)), ("sim/messages", Tokens(1000)), ("sim/preview", Tokens(1000))]

    assert costs([*used, *used]) == {"CNY": Decimal("0.01503"), "USD": Decimal("0.006")}


def test_a_long_question_is_charged_by_another_price_from_its_first_token_on() -> None:
    used = [("sim/messages", Tokens(1000, output=10)), ("sim/messages", Tokens(1001, output=10))]
    assert [costs([one])["USD"] for one in used] == [Decimal("0.00315"), Decimal("0.006231")]
    assert price_of("sim/chat", Tokens(10**6)) == PRICES["sim/chat"]
    assert price_of("sim/preview", Tokens(10**6)) is None
