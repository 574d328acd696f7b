from hypothesis import given
from hypothesis import strategies as st

from accounting.scopes import Kind, Scope, Scopes, Subject

names = st.sampled_from(("", "a", "b", "ab"))
ids = st.integers(0, 3)
scopes = st.one_of(
    st.just(Scope(Kind.ALL)),
    st.builds(Scope, st.sampled_from((Kind.PROJECT, Kind.KEY)), ids),
    st.builds(lambda kind, name: Scope(kind, name=name), st.sampled_from((Kind.PROVIDER, Kind.USER)), names),
    st.builds(lambda name: Scope(Kind.MODEL, name=name), st.sampled_from(("a", "ab", "a*", "*b", "*"))),
    st.builds(lambda name, value: Scope(Kind.TAG, name=name, value=value), names, names),
)
subjects = st.builds(
    Subject,
    st.none() | ids,
    st.none() | ids,
    names,
    st.lists(names, min_size=1),
    st.none() | names,
    st.dictionaries(names, names),
)


@given(st.lists(scopes), subjects)
def test_what_covers_a_call_is_found_among_many_as_one_by_one(some: list[Scope], subject: Subject) -> None:
    expected = [place for place, scope in enumerate(some) if scope.covers(subject)]
    assert Scopes((scope, place) for place, scope in enumerate(some)).covering(subject) == expected
