"""AWS credentials, without which no document can be had: waited for, and then given up with the pod.

Pod Identity gives a pod its rights when it is admitted, and its associations are eventually consistent (EKS
user guide, Pod Identity considerations): a pod that came before its association has none for ever. No new
container heals that; a new pod does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from runtime.cluster import ClusterError
from runtime.worker import aws
from runtime.worker.aws import MissingCredentialsError
from runtime.worker.clock import SYSTEM, Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.worker.pod import Pod

log = structlog.get_logger()

PATIENCE_SECONDS = 60.0
"""For an agent that starts with its node. It is also how often, at most, a pod is made anew in vain."""

PAUSE_SECONDS = 5.0


async def awaited(
    pod: Pod | None, require: Callable[[], None] = aws.require_credentials, clock: Clock = SYSTEM
) -> None:
    """Returns as soon as there are credentials, at once as a rule; deletes the pod where none come.

    Rights that AWS denies are no matter of this: a new pod would have the same.

    Args:
        pod: this pod; None outside of a cluster.
        require: raises `MissingCredentialsError` while there are none.
        clock: the time.

    Raises:
        MissingCredentialsError: none came; the message says why, and what has become of the pod.
    """
    deadline = clock.monotonic() + PATIENCE_SECONDS
    waiting = False
    while True:
        try:
            return await asyncio.to_thread(require)
        except MissingCredentialsError as error:
            if clock.monotonic() >= deadline:
                raise MissingCredentialsError(
                    f"none for {PATIENCE_SECONDS:g} s: {error}; {await _given_up(pod)}"
                ) from error
            if not waiting:
                log.warning("no AWS credentials yet", waited_for=PATIENCE_SECONDS, problem=str(error))
            waiting = True
        await clock.sleep(PAUSE_SECONDS)


async def _given_up(pod: Pod | None) -> str:
    """What has become of the pod."""
    if pod is None:
        return "this is no pod that could make room for a new one: give it credentials, then start it again"
    try:
        await pod.delete()
    except ClusterError as error:
        return f"a new pod may get some, but this one could not be deleted: {error}"
    return "this pod is deleted, since a new one gets those of its Pod Identity association"
