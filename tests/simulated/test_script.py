import re
from dataclasses import fields

import pytest

from accounting.simulated import script
from accounting.simulated.script import Place, Script, ScriptUnreadable


def test_words_are_parted_by_semicolons_and_take_values_or_none() -> None:
    read = Script.parse("chunk=1,7 ; cut=-5; gzip;error ;wait=0.5; input=15;")

    assert read == Script(chunk=(1, 7), cut=Place("-5"), gzip=True, error="plain", wait=0.5, input=15)


def test_an_empty_header_asks_for_a_plain_answer() -> None:
    assert Script.parse("") == Script()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("shunk=1", "shunk"),
        ("chunk", "chunk"),
        ("chunk=0", "sizes of 1"),
        ("gzip=yes", "gzip takes no value"),
        ("cut=middle", "expected an offset"),
        ("usage=strange", "reasoning-over-output"),
        ("place=strange", "before-moderation"),
    ],
)
def test_a_word_that_means_nothing_is_named(text: str, named: str) -> None:
    with pytest.raises(ScriptUnreadable, match=named):
        Script.parse(text)


def test_every_word_is_explained_at_the_top_of_the_file() -> None:
    explained = re.findall(r"[a-z]+(?:-[a-z]+)*", script.__doc__ or "")

    assert {field.name.replace("_", "-") for field in fields(Script)} <= set(explained)


@pytest.mark.parametrize(
    ("place", "offset"),
    [
        ("0", 0),
        ("7", 7),
        ("99", 30),
        ("-1", 29),
        ("-99", 0),
        ("50%", 15),
        ("event0", 0),
        ("event2", 20),
        ("event9", 30),
    ],
)
def test_a_place_is_an_offset_a_share_or_the_end_of_an_event(place: str, offset: int) -> None:
    assert Place(place).at((10, 20, 30)) == offset
