"""Pods and simulated nodes: each pod finds a node of its own pool, or waits and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from components.names import POOL_LABEL, SYSTEM_POOL
from tests.cluster import nodes, stacks
from tests.cluster.api import condition, reference
from tests.cluster.stacks import POLL_SECONDS, model

if TYPE_CHECKING:
    from tests.cluster.api import Object
    from tests.cluster.stack import Stack

PODS_SECONDS = POLL_SECONDS + 15

MODELS = {"on-l4": "g6.2xlarge", "on-a10g": "g5.xlarge", "on-t4": "g4dn.xlarge"}
"""Each model's pool."""

SCARCE = "g4dn.xlarge"
"""A pool that has one node and could do with two."""


@pytest.fixture(scope="module", autouse=True)
def _up(stack: Stack) -> None:
    """Three models on three pools, each with work for two pods."""
    graph = stacks.quick(*(model(name, instanceType=pool, maxInstances=2) for name, pool in MODELS.items()))
    stack.up(graph, sizes={SCARCE: 1})
    for name in MODELS:
        stack.queue(name).send(2)
    enough = {"on-l4": 2, "on-a10g": 2, "on-t4": 1}
    stack.pods.wait_for(
        "every model has its pods",
        lambda: all(len(stack.pods.ready(name)) >= count for name, count in enough.items()),
        PODS_SECONDS,
    )


def test_a_model_is_served_on_nodes_of_its_pool_only(stack: Stack) -> None:
    """One pod on each GPU, and none anywhere else."""
    places = {name: sorted(_pool(stack, pod.node) for pod in stack.pods.ready(name)) for name in MODELS}
    assert places == {
        "on-l4": ["g6.2xlarge", "g6.2xlarge"],
        "on-a10g": ["g5.xlarge", "g5.xlarge"],
        "on-t4": ["g4dn.xlarge"],
    }
    for name in MODELS:
        used = [pod.node for pod in stack.pods.ready(name)]
        assert len(set(used)) == len(used)


def test_jobs_run_on_system_nodes(stack: Stack) -> None:
    """A model is made ready, and what nobody needs is collected, where no GPU is paid for."""
    pods = [pod.object for name in MODELS for pod in stack.pods.of_job(name)]
    assert len(pods) >= len(MODELS)
    for cron in stack.objects("CronJob"):
        job = {**cron, "kind": "Job", "spec": cron["spec"]["jobTemplate"]["spec"]}
        stack.cluster.api.create(job)
        try:
            ended = stack.cluster.wait_for(
                "its Job ends", lambda job=job: condition(stack.cluster.api.get(job), "Complete"), 20
            )
            assert ended["status"] == "True"
            labels = f"batch.kubernetes.io/job-name={job['metadata']['name']}"
            pods += stack.cluster.api.list("v1", "Pod", cron["metadata"]["namespace"], labels)
        finally:
            stack.delete(job)
    assert {_pool(stack, pod["spec"]["nodeName"]) for pod in pods} == {SYSTEM_POOL}


def test_a_pod_that_asks_for_nothing_stays_off_model_nodes(stack: Stack) -> None:
    """Charts and add-ons that know nothing of pools are kept away by the taint alone."""
    pod = reference("v1", "Pod", "knows-nothing", "default")
    # A service account of the namespace is made some time after it.
    account = reference("v1", "ServiceAccount", "default", "default")
    stack.cluster.wait_for("the default account", lambda: stack.cluster.api.find(account), 20)
    stack.cluster.api.create({**pod, "spec": {"containers": [{"name": "any", "image": "any"}]}})
    try:
        node: str = stack.cluster.wait_for(
            "it has a node", lambda: stack.cluster.api.get(pod)["spec"].get("nodeName"), 20
        )
        assert _pool(stack, node) == SYSTEM_POOL
    finally:
        stack.delete(pod)


def test_a_pod_without_a_node_waits_and_says_why(stack: Stack) -> None:
    """Of its pool there is one node, whose GPU is taken; a node that comes is taken at once."""
    stack.pods.wait_for("a pod waits", lambda: _waiting(stack), PODS_SECONDS)
    ((name, why),) = _waiting(stack).items()
    count = len(stack.cluster.api.list("v1", "Node"))
    system = len(stack.cluster.api.list("v1", "Node", labels=f"{POOL_LABEL}={SYSTEM_POOL}"))
    assert why["reason"] == "Unschedulable"
    assert why["message"] == (
        f"0/{count} nodes are available: 1 Insufficient memory, 1 Insufficient nvidia.com/gpu, "
        f"{system} node(s) didn't match Pod's node affinity/selector, "
        f"{count - system - 1} node(s) had untolerated taint(s). "
        "no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
    )
    (group,) = (each for each in nodes.groups(stack.graph) if each.pool == SCARCE)
    group.add_nodes(stack.cluster, 2)
    stack.pods.wait_for("the pod is ready", lambda: len(stack.pods.ready("on-t4")) == 2, PODS_SECONDS)
    (late,) = (pod for pod in stack.pods.ready("on-t4") if pod.name == name)
    assert late.node == f"{SCARCE}-1"


def _waiting(stack: Stack) -> dict[str, Object]:
    """Pods of the scarce pool that no node takes, and what they say about it."""
    found = {pod.name: condition(pod.object, "PodScheduled") for pod in stack.pods.of("on-t4")}
    return {name: each for name, each in found.items() if each.get("status") == "False"}


def _pool(stack: Stack, node: str) -> str:
    return stack.cluster.api.get(reference("v1", "Node", node))["metadata"]["labels"][POOL_LABEL]
