"""A stack's first preview and first `up`, and that another `up` leaves everything alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cli.computed import COMPUTED
from tests.engine.cloud import label
from tests.engine.replacing import leaves

if TYPE_CHECKING:
    from cli.graph import Graph
    from tests.engine.conftest import Made
    from tests.engine.engine import Stack

MADE_BY_EKS = {"Cluster cluster-eksCluster"}
"""The one child of `eks.Cluster` that the double registers; mocks see none."""

AUTOMATIC_NAME = {"metadata.name", "metadata.annotations.pulumi.com/autonamed"}


def _made_by_providers(graph: Graph) -> set[str]:
    return {label(each.urn) for each in graph.resources.values() if each.custom} | MADE_BY_EKS


def test_a_first_preview_shows_what_up_makes(made: Made, graph: Graph) -> None:
    """With everything unknown that a provider computes, the program runs and registers all that it will."""
    assert made.preview.steps == dict.fromkeys(_made_by_providers(graph), "create")
    assert made.up.steps == made.preview.steps


def test_the_engine_gets_what_mocks_record(made: Made, graph: Graph) -> None:
    """The graph that the graph tests judge is what is made: the same resources, each with the same inputs."""
    recorded = {_key(urn): _given(each.inputs) for urn, each in graph.resources.items() if each.custom}
    got = {_key(thing.urn): _given(thing.inputs) for thing in made.stack.cloud.things.values()}
    assert {key: got.get(key) for key in recorded if "pulumi:providers:" not in key} == {
        key: paths for key, paths in recorded.items() if "pulumi:providers:" not in key
    }


def _key(urn: str) -> str:
    """A resource's type and name: of the components that it is in, mocks know the innermost alone."""
    kinds, name = urn.split("::", 3)[2:]
    return f"{kinds.rpartition('$')[2]} {name}"


def _given(inputs: dict[str, Any]) -> set[str]:
    """Paths of all that is given, without what a provider adds by itself."""
    return {path for path, value in leaves(inputs).items() if value is not None} - AUTOMATIC_NAME


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    """Names, hashes and documents come out the same, and the cloud holds what it was given."""
    assert stack.up("--refresh=false").steps == {}
    assert stack.run("preview", "--refresh", "--expect-no-changes").steps == {}
    assert stack.cloud.log == []


def test_no_secret_is_in_the_state_in_clear(made: Made, graph: Graph) -> None:
    """Whoever finds the state file cannot read the cluster's kubeconfig in it."""
    cluster = graph.one("eks:index:Cluster", "cluster")
    kubeconfig = COMPUTED[cluster.type](cluster.name, cluster.inputs)["kubeconfigJson"]
    state = made.stack.raw_state
    assert json.dumps(kubeconfig)[1:-1] not in state
    assert "ciphertext" in state
