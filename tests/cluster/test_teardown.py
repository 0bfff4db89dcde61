"""Taking a stack down: the graph's order hangs nowhere, and what hangs in another order heals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from components.names import SERVING_NAMESPACE
from tests.cluster import keda, stacks
from tests.cluster.api import condition, reference
from tests.cluster.processes import ProcessError
from tests.cluster.stacks import POLL_SECONDS, model

if TYPE_CHECKING:
    from tests.cluster.stack import Stack

NAMESPACE = reference("v1", "Namespace", SERVING_NAMESPACE)

HANGS_SECONDS = 8
"""Beyond a round of the namespace controller, which looks again every 5 s."""

HEALS_SECONDS = 40


def _up_and_busy(stack: Stack) -> None:
    stack.up(stacks.quick(model("busy", maxInstances=2), model("idle")))
    stack.queue("busy").send(2)
    stack.pods.wait_for("two pods", lambda: len(stack.pods.ready("busy")) == 2, POLL_SECONDS + 15)


def test_the_graphs_order_hangs_nowhere(own_stack: Stack) -> None:
    """Backwards through the dependencies, pods at work: all objects go, and KEDA with its definitions."""
    _up_and_busy(own_stack)
    own_stack.down()
    api = own_stack.cluster.api
    namespaces = {each["metadata"]["name"] for each in api.list("v1", "Namespace")}
    assert namespaces == {"default", "kube-node-lease", "kube-public", "kube-system"}
    assert api.list("v1", "PersistentVolume") == []
    definitions = api.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert definitions == []


def test_keda_gone_first_hangs_the_namespace_until_it_is_back(own_stack: Stack) -> None:
    """ScaledObjects have a finaliser that nobody but the operator takes off."""
    _up_and_busy(own_stack)
    cluster = own_stack.cluster
    cluster.processes.stop(keda.OPERATOR)
    cluster.api.delete(NAMESPACE)
    cluster.wait_for(
        "the namespace says what it waits for",
        lambda: (
            condition(cluster.api.find(NAMESPACE), "NamespaceFinalizersRemaining").get("status") == "True"
        ),
        HEALS_SECONDS,
    )
    with pytest.raises(ProcessError, match=r"finalizer\.keda\.sh in 2 resource instances"):
        cluster.wait_until_gone(NAMESPACE, HANGS_SECONDS)
    cluster.processes.restart(keda.OPERATOR)
    cluster.keda.wait_for_operator()
    cluster.wait_until_gone(NAMESPACE, HEALS_SECONDS)
