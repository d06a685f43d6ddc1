"""Merge patches: the examples of RFC 7396, and that a patch makes the state that it was made for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasekeeper.admin.patches import patch_between, patched

EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
STATES = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("before", "patch", "after"), EXAMPLES)
def test_the_examples_of_the_standard(before: Any, patch: Any, after: Any) -> None:
    assert patched(before, patch) == after


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from("abcd"), STATES), st.dictionaries(st.sampled_from("abcd"), STATES))
def test_a_patch_makes_the_state_that_it_was_made_for(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = patch_between(before, after)
    assert patched(before, patch) == after
    assert bool(patch) == (before != after)


def test_a_member_that_becomes_none_is_removed() -> None:
    assert patch_between({"margin": 3.0}, {"margin": None}) == {"margin": None}
    assert patched({"margin": 3.0}, {"margin": None}) == {}
