from accounting.simulated.answers import Asked, said, tokens
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


def test_texts_are_about_as_long_as_their_tokens_say() -> None:
    """So that what is learned of the demo's calls comes near: see `accounting doctor --estimates`."""
    for question in questions(50):
        asked = Asked("/", "", question.body)
        used = tokens(asked, Script.parse(f"{question.script}; fit"))
        text = question.body["messages"][0]["content"]
        a_token = len(text.encode()) / used.input
        assert question.script in RECORDED or 2.5 <= a_token <= 4.5
        spoken = "".join(said(asked, Script.parse(f"{question.script}; fit")))
        assert used.output * 3.8 - 100 <= len(spoken.encode()) <= used.output * 4.6 + 200
