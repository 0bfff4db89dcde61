"""The doubles are strict: what the real providers would refuse for its name or kind, they refuse."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import struct_pb2
from pulumi.runtime.proto import provider_pb2

from cli.computed import COMPUTED
from tests.engine import schemas
from tests.engine.cloud import Cloud
from tests.engine.doubles import Provider, packed
from tests.engine.replacing import REPLACED_BY, changed, leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.graph import Graph

    Inputs = dict[str, Any]

POOL = "aws:eks/nodeGroup:NodeGroup nodes-g6-2xlarge"
DEPLOYMENT = "kubernetes:apps/v1:Deployment summarize"
CONTAINER = "kubernetes:apps/v1:Deployment spec template spec containers[0]"
SCALED = "kubernetes:keda.sh/v1alpha1:ScaledObject summarize"
NOT_RESOURCES = {"eks:index:Cluster", "pulumi:providers:kubernetes"}
"""Types whose outputs are not those of one object: a component, and a provider."""


def _renamed(inputs: Inputs) -> None:
    inputs["instanceType"] = inputs.pop("instanceTypes")


def _snake_case(inputs: Inputs) -> None:
    inputs["scalingConfig"]["desired_size"] = inputs["scalingConfig"].pop("desiredSize")


def _text_for_a_number(inputs: Inputs) -> None:
    inputs["scalingConfig"]["maxSize"] = "2"


def _fraction(inputs: Inputs) -> None:
    inputs["scalingConfig"]["maxSize"] = 2.5


def _no_list(inputs: Inputs) -> None:
    inputs["subnetIds"] = "subnet-1"


def _required(inputs: Inputs) -> None:
    del inputs["clusterName"]


def _deep(inputs: Inputs) -> None:
    container = inputs["spec"]["template"]["spec"]["containers"][0]
    container["imagePullpolicy"] = "Always"


def _deep_and_required(inputs: Inputs) -> None:
    del inputs["spec"]["template"]["spec"]["containers"][0]["name"]


def _of_custom_metadata(inputs: Inputs) -> None:
    inputs["metadata"]["label"] = {}


FAULTS: dict[str, tuple[str, Callable[[Inputs], None], str]] = {
    "a name": (POOL, _renamed, "NodeGroup has no input instanceType: did you mean instanceTypes?"),
    "a nested name": (
        POOL,
        _snake_case,
        "NodeGroup scalingConfig has no input desired_size: did you mean desiredSize?",
    ),
    "text for a number": (POOL, _text_for_a_number, "scalingConfig maxSize is '2', not a whole number"),
    "a fraction": (POOL, _fraction, "scalingConfig maxSize is 2.5, not a whole number"),
    "no list": (POOL, _no_list, "NodeGroup subnetIds is 'subnet-1', not a list"),
    "a required input": (POOL, _required, "NodeGroup lacks its input clusterName"),
    "a name far inside": (
        DEPLOYMENT,
        _deep,
        f"{CONTAINER} has no input imagePullpolicy: did you mean imagePullPolicy?",
    ),
    "a required input far inside": (DEPLOYMENT, _deep_and_required, f"{CONTAINER} lacks its input name"),
    "a custom resource's metadata": (SCALED, _of_custom_metadata, "metadata has no input label"),
}


def _inputs(graph: Graph, which: str) -> tuple[str, Inputs]:
    token, name = which.split()
    return token, copy.deepcopy(graph.one(token, name).inputs)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_an_input_is_refused(graph: Graph, fault: str) -> None:
    """The refusal says which input of which resource, and what would be right."""
    which, spoil, sentence = FAULTS[fault]
    token, inputs = _inputs(graph, which)
    assert schemas.problems(token, inputs) == []
    spoil(inputs)
    found = schemas.problems(token, inputs)
    assert any(sentence in problem for problem in found), found


def test_an_unknown_type_is_refused() -> None:
    """A type token that no SDK registers names no resource."""
    token = "aws:sqs/queue:Queu"  # noqa: S105  a type token
    assert schemas.problems(token, {}) == [f"no installed SDK has a type {token}"]


def test_a_check_fails_with_what_is_wrong(graph: Graph) -> None:
    """The engine gets the sentences as failures, and shows them."""
    token, inputs = _inputs(graph, POOL)
    _renamed(inputs)
    request = provider_pb2.CheckRequest(type=token, news=packed(inputs), olds=struct_pb2.Struct())
    context: Any = None
    failures = Provider(Cloud(), "aws").Check(request, context).failures
    assert [failure.reason for failure in failures] == schemas.problems(token, inputs)


@pytest.mark.parametrize("token", sorted(COMPUTED.keys() - NOT_RESOURCES))
def test_a_double_answers_with_outputs_that_exist(graph: Graph, token: str) -> None:
    """`cli/computed.py` makes up no property that the real provider would not send."""
    for each in graph.of_type(token):
        computed = COMPUTED[token](each.name, each.inputs)
        assert computed.keys() - {"id"} <= schemas.outputs(token)


def test_what_replaces_is_an_input() -> None:
    """Each path of the table begins at an input of its type, so none is misspelt."""
    for token, paths in REPLACED_BY.items():
        assert {path.split(".")[0] for path in paths} <= schemas.inputs(token)


def test_a_difference_is_found_wherever_it_is() -> None:
    """Lists, maps, what is new and what is gone each have their path."""
    old = {"a": {"b": [1.0, {"c": 2.0}]}, "gone": "x", "same": {}}
    new = {"a": {"b": [1.0, {"c": 3.0}]}, "new": None, "same": {}}
    assert changed(old, new) == ["a.b[1].c", "gone", "new"]
    assert leaves(old) == {"a.b[0]": 1.0, "a.b[1].c": 2.0, "gone": "x", "same": {}}
