"""The longest chain of resources that wait for each other, which `pulumi up` cannot be faster than."""

from __future__ import annotations

from graphlib import CycleError
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.creation_times import CREATION_TIMES
from bench.critical_path import finish_times, longest_path, waits
from cli.computed import COMPUTED
from cli.graph import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("graph", "weights", "path"),
    [
        ({}, {}, []),
        ({"a": ()}, {"a": 0}, ["a"]),
        ({"a": (), "b": ("a",), "c": ("b",)}, {"a": 1, "b": 2, "c": 3}, ["a", "b", "c"]),
        ({"a": (), "b": (), "c": ("a", "b")}, {"a": 1, "b": 2, "c": 3}, ["b", "c"]),
        ({"a": (), "b": ("a",), "c": ()}, {"a": 1, "b": 1, "c": 3}, ["c"]),
        ({"d": ("c", "b"), "c": ("a",), "b": ("a",), "a": ()}, dict.fromkeys("abcd", 1), ["a", "b", "d"]),
        ({"b": (), "a": ()}, {"a": 1, "b": 1}, ["a"]),
    ],
    ids=["nothing", "one", "chain", "heavier branch", "heavier alone", "tie on the way", "tie at the end"],
)
def test_the_heaviest_chain_is_found(
    graph: dict[str, tuple[str, ...]], weights: dict[str, float], path: list[str]
) -> None:
    """From its first node to its last; of equal ones, that whose names come first."""
    assert longest_path(graph, weights) == path


def test_nodes_that_wait_for_each_other_are_refused() -> None:
    """There is no order to create them in."""
    with pytest.raises(CycleError):
        longest_path({"a": ("b",), "b": ("a",)}, {"a": 1, "b": 1})


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[dict[int, list[int]], dict[int, int]]:
    """A graph of some nodes without a cycle, and what each takes."""
    size = draw(st.integers(1, 7))
    earlier = [
        st.lists(st.sampled_from(range(node)), unique=True) if node else st.just([]) for node in range(size)
    ]
    return dict(enumerate(map(draw, earlier))), {node: draw(st.integers(0, 4)) for node in range(size)}


def _paths(graph: dict[str, list[str]], end: str) -> Iterator[list[str]]:
    """Every chain that ends there, however short."""
    yield [end]
    for before in graph[end]:
        for path in _paths(graph, before):
            yield [*path, end]


@given(_graphs())
def test_no_chain_is_longer(drawn: tuple[dict[int, list[int]], dict[int, int]]) -> None:
    """Against every chain there is: the one found is one of them, none weighs more, and its ends agree."""
    graph = {str(node): [str(before) for before in befores] for node, befores in drawn[0].items()}
    weights = {str(node): weight for node, weight in drawn[1].items()}
    chains = [path for end in graph for path in _paths(graph, end)]
    found = longest_path(graph, weights)
    weight = sum(weights[node] for node in found)
    assert found in chains
    assert weight == max(sum(weights[node] for node in path) for path in chains)
    assert weight == finish_times(graph, weights)[found[-1]]


def _resource(urn: str, *dependencies: str, parent: str = "", provider: str = "") -> Resource:
    return Resource(
        urn=urn,
        type="t",
        name=urn,
        inputs={},
        outputs={},
        parent=parent,
        dependencies=frozenset(dependencies),
        provider=provider,
        protect=False,
        retain_on_delete=False,
        ignore_changes=(),
        custom=True,
    )


def test_a_resource_waits_for_more_than_its_dependencies() -> None:
    """Its component and its provider have to be there too; what is not in the stack is not waited for."""
    resources = {
        "a": _resource("a", "elsewhere", parent="stack"),
        "urn::b": _resource("urn::b"),
        "c": _resource("c", "a", parent="d", provider="urn::b::an-id"),
        "d": _resource("d"),
    }
    assert waits(resources) == {"a": set(), "urn::b": set(), "c": {"a", "d", "urn::b"}, "d": set()}


def test_each_sourced_type_is_one_that_the_program_uses() -> None:
    """A mistyped one would count for nothing, and its resources as if nothing were known of them."""
    assert set(CREATION_TIMES) - set(COMPUTED) == set()
