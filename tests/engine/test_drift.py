"""What others change while the stack is up: the autoscaler's nodes and KEDA's pods are theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.engine import Stack

POOL, DEPLOYMENT = "NodeGroup nodes-g6-2xlarge", "Deployment summarize"


@pytest.fixture
def busy(stack: Stack) -> Stack:
    """The stack while documents are being answered: two nodes, and two pods of one model."""
    stack.cloud.the(POOL).properties["scalingConfig"]["desiredSize"] = 2
    stack.cloud.the(DEPLOYMENT).properties["spec"]["replicas"] = 2
    return stack


def _nodes_and_pods(stack: Stack) -> tuple[float, float]:
    nodes = stack.cloud.the(POOL).properties["scalingConfig"]["desiredSize"]
    return nodes, stack.cloud.the(DEPLOYMENT).properties["spec"]["replicas"]


@pytest.mark.parametrize("flags", [(), ("--refresh=false",)], ids=["refreshed", "unrefreshed"])
def test_an_up_without_an_edit_leaves_what_runs(busy: Stack, flags: tuple[str, ...]) -> None:
    """Neither count is a difference that the engine would mend, whether it sees them or not."""
    assert busy.up(*flags).steps == {}
    assert _nodes_and_pods(busy) == (2, 2)


def test_an_edit_of_the_same_resources_leaves_what_runs(busy: Stack) -> None:
    """Another version of nodes and a new pod template are sent without taking away what works.

    An update of a node group may send its desired size along (`expandNodegroupScalingConfig` of the AWS
    provider), and where changes are ignored, that is the size in the state. So the state has to be
    refreshed before: `options.refresh` of Pulumi.yaml sees to it.
    """
    busy.configure({"kubernetesVersion": "1.34", "maxInstances": 3})
    steps = busy.up().steps
    assert (steps[POOL], steps[DEPLOYMENT]) == ("update", "update")
    assert busy.cloud.the(POOL).properties["version"] == "1.34"
    assert _nodes_and_pods(busy) == (2, 2)


def test_a_pause_asks_nothing_of_the_nodes(busy: Stack) -> None:
    """EKS refuses a ceiling under the nodes that there are; the pause would fail before KEDA hears of it."""
    busy.configure({"maxInstances": 0})
    steps = busy.up().steps
    assert POOL not in steps
    assert steps["ScaledObject summarize"] == "update"
    assert _nodes_and_pods(busy) == (2, 2)


def test_what_was_changed_by_hand_is_mended(stack: Stack) -> None:
    """A refresh sees that a bucket lost its versioning, and the next `up` gives it back."""
    versioning = stack.cloud.the("BucketVersioning documents").properties["versioningConfiguration"]
    versioning["status"] = "Suspended"
    assert stack.up("--refresh").steps == {"BucketVersioning documents": "update"}
    mended = stack.cloud.the("BucketVersioning documents").properties["versioningConfiguration"]
    assert mended["status"] == "Enabled"


def test_what_is_gone_is_made_again(stack: Stack) -> None:
    """A rule that somebody deleted comes back, and its target with it."""
    (rule,) = stack.cloud.ids("EventRule summarize")
    del stack.cloud.things[rule]
    assert stack.up("--refresh").steps == {
        "EventRule summarize": "create",
        "EventTarget summarize": "replace",
        # They admit the rule by its ARN.
        "QueuePolicy summarize": "update",
        "QueuePolicy summarize-undelivered": "update",
    }
