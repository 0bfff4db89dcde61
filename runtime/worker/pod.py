"""This pod, for its cluster: while it is busy, another is chosen first when there are to be fewer.

A ReplicaSet that shrinks takes pods of the lowest deletion cost first. It is a preference, not a promise: a
pod that is chosen all the same drains, and nothing is lost. So no failure here ends or holds up anything.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from runtime import cluster
from runtime.cluster import CREDENTIALS, Cluster, ClusterError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

log = structlog.get_logger()

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
BUSY_COST = "1000"
IDLE_COST = "0"

SETTLED_SECONDS = 1.0
"""How long a pod is busy, or idle, until that is told: the annotation is not for frequent updates (Kubernetes
manual, ReplicaSet, pod deletion cost), so never one for each document."""

LOOK_SECONDS = 0.25
PAUSE_SECONDS = 1.0
"""After a patch; with the time to settle, two are never closer than two seconds."""

MAX_BACKOFF_SECONDS = 60.0


@dataclass(frozen=True)
class Pod:
    """This pod, as its API server knows it. An admission policy lets it do these two things to itself.

    Attributes:
        cluster: where it runs.
        path: of its object.
    """

    cluster: Cluster
    path: str

    async def set_deletion_cost(self, cost: str) -> None:
        """Sets the annotation, and sends nothing else.

        Raises:
            ClusterError: it could not be set.
        """
        await self.cluster.call(
            "PATCH", self.path, merge_patch={"metadata": {"annotations": {ANNOTATION: cost}}}
        )

    async def delete(self) -> None:
        """Asks for the pod's end; its containers get SIGTERM, and its ReplicaSet makes another one.

        Raises:
            ClusterError: it was refused, or could not be asked for.
        """
        await self.cluster.call("DELETE", self.path)


def connect(environment: Mapping[str, str] = os.environ, credentials: Path = CREDENTIALS) -> Pod | None:
    """This pod, or None outside of a cluster, and where a pod is not told its name or given a token."""
    namespace, name = environment.get("POD_NAMESPACE", ""), environment.get("POD_NAME", "")
    found = cluster.connect(environment, credentials)
    if not (namespace and name and found):
        return None
    return Pod(found, f"api/v1/namespaces/{namespace}/pods/{name}")


async def mind(
    pod: Pod, busy: Callable[[], bool], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Keeps the deletion cost in step with whether the pod is busy, until it is cancelled.

    Args:
        pod: this pod.
        busy: whether a document is in hand now.
        sleep: waits for so many seconds.
    """
    # Not known at first: an annotation outlives its container.
    told: bool | None = None
    complained: bool | None = None
    backoff = PAUSE_SECONDS
    while True:
        state = await _settled(busy, sleep)
        if state is told:
            continue
        try:
            await pod.set_deletion_cost(BUSY_COST if state else IDLE_COST)
        except ClusterError as error:
            # It may have been set all the same.
            told = None
            if complained is not state:
                log.warning("pod deletion cost not set", busy=state, problem=str(error))
            complained = state
            await sleep(backoff)
            backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)
        else:
            told, complained, backoff = state, None, PAUSE_SECONDS
            await sleep(PAUSE_SECONDS)


async def _settled(busy: Callable[[], bool], sleep: Callable[[float], Awaitable[None]]) -> bool:
    """What `busy` says, once it has said the same for as long as it takes."""
    state, unchanged = busy(), 0.0
    while unchanged < SETTLED_SECONDS:
        await sleep(LOOK_SECONDS)
        if busy() is state:
            unchanged += LOOK_SECONDS
        else:
            state, unchanged = not state, 0.0
    return state
