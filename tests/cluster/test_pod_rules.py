"""What a serving pod may do by the Kubernetes API: say what its loss would cost, and delete itself."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from components.names import SERVING_NAMESPACE
from runtime.worker import pod as worker_pod
from tests.cluster.api import ApiError, reference
from tests.cluster.stacks import COOLDOWN_SECONDS, POLL_SECONDS, SCALE_DOWN_PERIOD_SECONDS, model, quick

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from pathlib import Path

    from tests.cluster.api import Api
    from tests.cluster.pods import Pod
    from tests.cluster.queues import Queue
    from tests.cluster.stack import Stack

MODEL = "rules"
COST = "controller.kubernetes.io/pod-deletion-cost"
BURST_SECONDS = 20
COST_SECONDS = 10
DOWN_SECONDS = 2 * SCALE_DOWN_PERIOD_SECONDS + 2 * POLL_SECONDS + 10
EMPTY_SECONDS = COOLDOWN_SECONDS + 2 * POLL_SECONDS + 10

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another annotation": ({"metadata": {"annotations": {"a": "b"}}}, COST),
    "an annotation less": ({"metadata": {"annotations": {"ollama-eks/model": None}}}, COST),
    "an annotation changed": ({"metadata": {"annotations": {"ollama-eks/model": "other"}}}, COST),
    "no annotations": ({"metadata": {"annotations": None}}, COST),
    "a label": ({"metadata": {"labels": {"model": "other"}}}, COST),
    "a finalizer": ({"metadata": {"finalizers": ["example.com/stay"]}}, COST),
    "no owner": ({"metadata": {"ownerReferences": None}}, COST),
    "a deadline": ({"spec": {"activeDeadlineSeconds": 1}}, COST),
    "the cost and more": ({"metadata": {"annotations": {COST: "1", "a": "b"}}}, COST),
}
"""Changes of itself, each with a word of the sentence that refuses it."""


@dataclass
class Two:
    """Two pods of one model, each with a document in hand.

    Attributes:
        pods: the older one first.
        receipts: of the two documents.
    """

    pods: list[Pod]
    queue: Queue
    receipts: list[str]

    def finish_one(self) -> None:
        """One of the documents has its answer."""
        self.queue.finish([self.receipts.pop()])


@pytest.fixture
def two(stack: Stack) -> Generator[Two]:
    """The pods; gone again afterwards."""
    stack.up(quick(model(MODEL, maxInstances=2)))
    queue = stack.queue(MODEL)
    queue.send(2)
    made = Two([], queue, queue.take(2))
    stack.pods.wait_for("two pods", lambda: len(stack.pods.ready(MODEL)) == 2, BURST_SECONDS)
    made.pods = stack.pods.ready(MODEL)
    yield made
    queue.finish(made.receipts)
    stack.pods.wait_for("no pods", lambda: not stack.pods.of(MODEL), EMPTY_SECONDS)


@pytest.fixture
def asking(stack: Stack) -> Generator[Callable[[Pod | None], Api]]:
    """Gives the API server, asked with the token that the kubelet would mount into a pod's worker.

    Without a pod it is a token of the same account that is bound to none.
    """
    with contextlib.ExitStack() as clients:

        def ask(pod: Pod | None) -> Api:
            token = stack.cluster.token(SERVING_NAMESPACE, MODEL, pod.object if pod else None)
            return clients.enter_context(contextlib.closing(stack.cluster.api.as_bearer(token)))

        yield ask


def _reference(pod: Pod) -> dict[str, Any]:
    return reference("v1", "Pod", pod.name, SERVING_NAMESPACE)


def _cost(pod: Pod) -> str | None:
    """As the watch saw it last."""
    return pod.object["metadata"]["annotations"].get(COST)


def test_a_pod_changes_its_own_deletion_cost_and_nothing_else(
    stack: Stack, two: Two, asking: Callable[[Pod | None], Api]
) -> None:
    """The policy and RBAC refuse the rest: of itself, of its neighbour, and by a token of no pod."""
    mine, other = two.pods
    api = asking(mine)
    for cost in ("1000", "0", None):
        api.patch(_reference(mine), {"metadata": {"annotations": {COST: cost}}})
        stack.pods.wait_for(f"its cost is {cost}", lambda cost=cost: _cost(mine) == cost, 5)

    before = stack.cluster.api.get(_reference(mine))
    for what, (change, word) in REFUSED.items():
        with pytest.raises(ApiError, match=word) as refused:
            api.patch(_reference(mine), change)
        assert "ValidatingAdmissionPolicy" in refused.value.message, what
    for what, call in _astray(api, asking(None), mine, other).items():
        with pytest.raises(ApiError) as refused:
            call()
        assert refused.value.reason in {"Forbidden", "Invalid"}, what
    after = stack.cluster.api.get(_reference(mine))
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert not stack.cluster.api.get(_reference(other))["metadata"].get("deletionTimestamp")


def _astray(api: Api, anybody: Api, mine: Pod, other: Pod) -> dict[str, Callable[[], object]]:
    """What no pod may do, each with the right words."""
    cost = {"metadata": {"annotations": {COST: "-1000"}}}
    deployment = reference("apps/v1", "Deployment", MODEL, SERVING_NAMESPACE)
    return {
        "its neighbour's cost": lambda: api.patch(_reference(other), cost),
        "its neighbour's end": lambda: api.delete(_reference(other)),
        "a cost, by a token of no pod": lambda: anybody.patch(_reference(mine), cost),
        "an end, by a token of no pod": lambda: anybody.delete(_reference(mine)),
        "its status": lambda: api.patch(_reference(mine), {"status": {"phase": "Failed"}}, "status"),
        "reading itself": lambda: api.get(_reference(mine)),
        "reading its neighbours": lambda: api.list("v1", "Pod", SERVING_NAMESPACE),
        "reading secrets": lambda: api.list("v1", "Secret", SERVING_NAMESPACE),
        "its own number": lambda: api.patch(deployment, {"spec": {"replicas": 9}}),
        "a pod more": lambda: api.create(
            {
                **_reference(mine),
                "metadata": {"name": "more", "namespace": SERVING_NAMESPACE},
                "spec": {"containers": [{"name": "main", "image": "any"}]},
            }
        ),
    }


def test_a_pod_may_delete_itself(stack: Stack, two: Two, asking: Callable[[Pod | None], Api]) -> None:
    """That is how a worker that was admitted without AWS rights makes room for one that has them."""
    mine, other = two.pods
    asking(mine).delete(_reference(mine))
    stack.pods.wait_for("it goes", lambda: mine.left is not None, 10)
    stack.pods.wait_for("another one comes", lambda: len(stack.pods.ready(MODEL)) == 2, BURST_SECONDS)
    assert other.left is None


@pytest.mark.parametrize("busy", [0, 1], ids=["the older is busy", "the younger is busy"])
async def test_the_idle_one_of_two_pods_goes_first(stack: Stack, two: Two, busy: int, tmp_path: Path) -> None:
    """The worker's own code tells the real API what is busy, and the autoscaler then wants one pod less."""
    keeps, goes = two.pods[busy], two.pods[1 - busy]
    async with _minding(stack, keeps, tmp_path, busy=True), _minding(stack, goes, tmp_path, busy=False):
        await asyncio.to_thread(
            stack.pods.wait_for,
            "both have said it",
            lambda: [_cost(pod) for pod in (keeps, goes)] == ["1000", "0"],
            COST_SECONDS,
        )
        two.finish_one()
        await asyncio.to_thread(
            stack.pods.wait_for, "one pod", lambda: len(stack.pods.of(MODEL)) == 1, DOWN_SECONDS
        )
    assert goes.left is not None
    assert keeps.left is None


@contextlib.asynccontextmanager
async def _minding(stack: Stack, pod: Pod, folder: Path, *, busy: bool) -> AsyncGenerator[None]:
    """Lets the worker's code mind a pod, with what the kubelet would give it."""
    credentials = folder / pod.name
    credentials.mkdir()
    (credentials / "ca.crt").write_bytes(stack.cluster.ca.read_bytes())
    (credentials / "token").write_text(stack.cluster.token(SERVING_NAMESPACE, MODEL, pod.object))
    server = urlsplit(stack.cluster.url)
    environment = {
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "POD_NAMESPACE": SERVING_NAMESPACE,
        "POD_NAME": pod.name,
    }
    me = worker_pod.connect(environment, credentials)
    assert me is not None
    minding = asyncio.create_task(worker_pod.mind(me, lambda: busy))
    try:
        yield
    finally:
        minding.cancel()
