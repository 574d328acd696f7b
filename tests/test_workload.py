from accounting.simulated.ledger import PRICES
from accounting.simulated.script import Script
from accounting.workload import ACCOUNTS, ODD, RECORDED, UNUSUAL, USUAL, WRITTEN, questions


def test_the_same_number_is_the_same_workload() -> None:
    assert list(questions(50)) == list(questions(50))


def test_every_account_model_and_answer_has_its_turn() -> None:
    asked = list(questions(2000))

    assert {question.account for question in asked} == set(ACCOUNTS)
    assert {question.body["model"] for question in asked} == {*PRICES, "sim/preview"}
    assert {question.script for question in asked} == {*USUAL, *UNUSUAL, *ODD, *WRITTEN, *RECORDED}
    assert {question.body["stream"] for question in asked} == {True, False}


def test_every_answer_is_one_that_the_provider_knows() -> None:
    for script in {**USUAL, **UNUSUAL, **ODD, **WRITTEN, **RECORDED}:
        Script.parse(script)
