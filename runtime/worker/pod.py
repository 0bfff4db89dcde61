"""This pod, for its cluster: while it is busy, another is chosen first when there are to be fewer.

A ReplicaSet that shrinks takes pods of the lowest deletion cost first. It is a preference, not a promise: a
pod that is chosen all the same drains, and nothing is lost. So no failure here ends or holds up anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

log = structlog.get_logger()

CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token and the cluster's CA."""

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
REQUEST_SECONDS = 5.0


class PodError(Exception):
    """The API server could not be told; the message says why."""


@dataclass(frozen=True)
class Pod:
    """This pod, as its API server knows it.

    Attributes:
        url: of the pod's object.
        token: the file with the token, read for each call because the kubelet renews it.
        trust: the cluster's CA.
    """

    url: str
    token: Path
    trust: ssl.SSLContext

    async def set_deletion_cost(self, cost: str) -> None:
        """Sets the annotation.

        Raises:
            PodError: it could not be set.
        """
        body = json.dumps({"metadata": {"annotations": {ANNOTATION: cost}}})
        try:
            headers = {
                "Authorization": f"Bearer {self.token.read_text().strip()}",
                "Content-Type": "application/merge-patch+json",
            }
            # A client for each call: they are rare, and a connection kept would be dead by the next.
            async with httpx.AsyncClient(
                verify=self.trust, trust_env=False, timeout=REQUEST_SECONDS
            ) as client:
                (await client.patch(self.url, content=body, headers=headers)).raise_for_status()
        except httpx.HTTPStatusError as error:
            answer = error.response
            raise PodError(f"the API server answered {answer.status_code}: {answer.text[:500]}") from error
        except (OSError, httpx.HTTPError) as error:
            raise PodError(f"{type(error).__name__}: {error}") from error


def connect(environment: Mapping[str, str] = os.environ, credentials: Path = CREDENTIALS) -> Pod | None:
    """This pod, or None outside of a cluster, and where a pod is not told its name or given a token."""
    host, port, namespace, name = (
        environment.get(variable, "")
        for variable in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAMESPACE", "POD_NAME")
    )
    token, authority = credentials / "token", credentials / "ca.crt"
    if not (host and port and namespace and name and token.exists() and authority.exists()):
        return None
    where = f"[{host}]" if ":" in host else host
    return Pod(
        url=f"https://{where}:{port}/api/v1/namespaces/{namespace}/pods/{name}",
        token=token,
        trust=ssl.create_default_context(cafile=str(authority)),
    )


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
        except PodError as error:
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
