"""Who a call is for: project, end user and tags of the running code.

They live in a context variable, so they follow `await` and `asyncio` tasks. A new thread starts without
them, unless it is run in a copied context.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field

from accounting.errors import ConfigurationError
from accounting.usage import MAX_TAGS, clean

MAX_TAG_KEY = 64
MAX_TAG_VALUE = 256


@dataclass(frozen=True, slots=True)
class Attribution:
    """What is said of a call; None where nothing was."""

    project: str | None = None
    user: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


_current: ContextVar[Attribution] = ContextVar("accounting_attribution", default=Attribution())  # noqa: B039 - frozen


def current() -> Attribution:
    return _current.get()


@contextmanager
def attribute(
    *, project: str | None = None, user: str | None = None, tags: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Attribute the calls made inside the block: `with accounting.attribute(project="search", user="u-17"):`.

    Blocks nest: an inner project or user replaces the outer one, tags are added to the outer ones. A project
    named here goes before the one given to `meter()`. Use it with a plain `with` around `await`, too.
    """
    outer = _current.get()
    # Cleaned again as a whole: blocks within blocks may come to more tags than a call keeps.
    all_tags = clean_tags({**outer.tags, **clean_tags(tags)})
    inner = Attribution(project_name(project) or outer.project, clean(user) or outer.user, all_tags)
    token = _current.set(inner)
    try:
        yield
    finally:
        # A generator with such a block in it may be closed by another task: its context is not ours to put back.
        with suppress(ValueError):
            _current.reset(token)


def project_name(name: str | None) -> str | None:
    """The project's name as the books keep it. Raises `ConfigurationError` for an empty one."""
    if name is None:
        return None
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f'project={name!r}: expected a name like "checkout", or leave it out.')
    return clean(name.strip())


def clean_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Tags as the books keep them: at most 32, keys of 64 and values of 256 characters, all text."""
    if not tags:
        return {}
    if not isinstance(tags, Mapping):
        raise ConfigurationError(f'tags={tags!r}: expected names and values, like {{"feature": "rerank"}}.')
    if len(tags) > MAX_TAGS:
        raise ConfigurationError(f"{len(tags)} tags given; at most {MAX_TAGS} are kept with a call.")
    return {clean(key, MAX_TAG_KEY) or "": clean(value, MAX_TAG_VALUE) or "" for key, value in tags.items()}
