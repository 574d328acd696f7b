import asyncio
from collections.abc import Generator
from contextvars import copy_context
from threading import Thread

import pytest

from accounting import attribute
from accounting.attribution import Attribution, clean_tags, current, project_name
from accounting.errors import ConfigurationError
from accounting.usage import MAX_TAGS


def test_an_inner_block_replaces_project_and_user_and_adds_tags() -> None:
    with attribute(project="search", user="u-1", tags={"team": "a", "env": "test"}):
        with attribute(project="index", tags={"team": "b"}):
            assert current() == Attribution("index", "u-1", {"team": "b", "env": "test"})
        assert current() == Attribution("search", "u-1", {"team": "a", "env": "test"})
    assert current() == Attribution()


def test_a_block_ends_with_an_exception_too() -> None:
    with pytest.raises(KeyError), attribute(project="search"):
        raise KeyError
    assert current() == Attribution()


def test_tasks_keep_what_they_began_with_and_do_not_mix() -> None:
    async def one(name: str) -> str | None:
        with attribute(user=name):
            await asyncio.sleep(0.001)
            return current().user

    async def all_of_them() -> list[str | None]:
        with attribute(project="search"):
            return await asyncio.gather(*(one(str(number)) for number in range(20)))

    assert asyncio.run(all_of_them()) == [str(number) for number in range(20)]


def test_a_new_thread_starts_without_attribution() -> None:
    seen: list[Attribution] = []
    with attribute(project="search"):
        thread = Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [Attribution()]


def test_tags_are_bounded_text() -> None:
    assert clean_tags({"k" * 100: "v" * 1000, "number": 7, "odd\0": "\ud800"}) == {  # type: ignore[dict-item]
        "k" * 64: "v" * 256, "number": "7", "odd\\0": "\\ud800",
    }  # fmt: skip
    assert clean_tags(None) == {}


def test_more_tags_than_a_call_keeps_are_refused_where_they_are_given() -> None:
    half = {f"a{number}": "x" for number in range(MAX_TAGS - 1)}
    with attribute(tags=half), attribute(tags={"b1": "x"}):
        assert len(current().tags) == MAX_TAGS
        with pytest.raises(ConfigurationError, match="33 tags given; at most 32"), attribute(tags={"b2": "x"}):
            pass


@pytest.mark.parametrize("name", ["", "  ", 7])
def test_a_project_has_a_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a name"):
        project_name(name)


def test_a_project_s_name_is_trimmed() -> None:
    assert project_name(" checkout\n") == "checkout"
    assert project_name(None) is None


def test_a_generator_closed_in_another_context_ends_without_an_error() -> None:
    def answer() -> Generator[None, None, None]:
        with attribute(project="search"):
            yield

    generator = answer()
    copy_context().run(next, generator)
    generator.close()
    assert current().project is None


def test_tags_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected names and values"):
        clean_tags(["a"])  # type: ignore[arg-type]
