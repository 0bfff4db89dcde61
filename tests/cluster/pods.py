"""Pods as a watch tells of them: when each came, was ready and went, to the millisecond."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.names import SERVING_NAMESPACE
from tests.cluster.api import condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.api import Object
    from tests.cluster.cluster import Cluster

CHECK_SECONDS = 0.5

ENDED = ("Succeeded", "Failed")


@dataclass
class Pod:
    """One pod; times are by time.monotonic(), None for what has not happened.

    Attributes:
        object: as it was last seen.
        created: when it was first seen.
        ready: when it was first seen ready.
        left: when it was first seen on its way out, or gone.
    """

    object: Object
    created: float
    ready: float | None = None
    left: float | None = None

    @property
    def name(self) -> str:
        """Its own."""
        return self.object["metadata"]["name"]

    @property
    def model(self) -> str:
        """The model it serves or readies; empty for pods of no model."""
        return self.object["metadata"].get("labels", {}).get("model", "")

    @property
    def serves(self) -> bool:
        """Whether it serves a model, and is not a model's Job."""
        return bool(self.model) and self.object["metadata"]["namespace"] == SERVING_NAMESPACE

    @property
    def node(self) -> str:
        """Where it runs, empty while it waits."""
        return self.object["spec"].get("nodeName", "")


class Pods:
    """All pods of a cluster, followed from the moment that this is made until it is closed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._changed = threading.Condition()
        self._pods: dict[str, Pod] = {}
        self._peaks: Counter[str] = Counter()
        self._watch = cluster.api.watch("v1", "Pod", self._follow)

    def close(self) -> None:
        """Ends the watch."""
        self._watch.close()

    def ever(self, model: str) -> list[Pod]:
        """Every serving pod that a model has had, the oldest first."""
        with self._changed:
            return [pod for pod in self._pods.values() if pod.serves and pod.model == model]

    def of(self, model: str) -> list[Pod]:
        """The serving pods that a model has now, the oldest first; one that is told to go is none."""
        return [pod for pod in self.ever(model) if pod.left is None]

    def ready(self, model: str) -> list[Pod]:
        """Those of them that are ready."""
        return [pod for pod in self.of(model) if pod.ready is not None]

    def of_job(self, model: str) -> list[Pod]:
        """Every pod of a model's Jobs, ended ones too."""
        with self._changed:
            return [pod for pod in self._pods.values() if pod.model == model and not pod.serves]

    def peak(self, model: str) -> int:
        """The most serving pods that a model ever had at once."""
        return self._peaks[model]

    def wait_for(self, what: str, holds: Callable[[], Any], seconds: float) -> float:
        """Waits until something holds of the pods, and gives the time at which it was seen.

        Raises:
            TimeoutError: it did not in time.
            ProcessError: one of the cluster's processes ended meanwhile.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while not holds():
                assert not self._watch.broken, f"the watch on pods ended: {self._watch.broken}"
                self._cluster.processes.check()
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimeoutError(f"not within {seconds:.0f} s: {what}; {self._summary()}")
                self._changed.wait(min(left, CHECK_SECONDS))
        return time.monotonic()

    def stays(self, what: str, holds: Callable[[], Any], seconds: float) -> None:
        """Looks at every event that something holds for so long."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while (left := deadline - time.monotonic()) > 0:
                assert holds(), f"for {seconds:.0f} s: {what}; {left:.1f} s before the end: {self._summary()}"
                assert not self._watch.broken, f"the watch on pods ended: {self._watch.broken}"
                self._changed.wait(min(left, CHECK_SECONDS))
                self._cluster.processes.check()

    def _follow(self, when: float, event: str, found: Object) -> None:
        metadata = found["metadata"]
        with self._changed:
            pod = self._pods.setdefault(metadata["uid"], Pod(found, when))
            pod.object = found
            if pod.ready is None and condition(found, "Ready").get("status") == "True":
                pod.ready = when
            gone = event == "DELETED" or "deletionTimestamp" in metadata
            if pod.left is None and (gone or found["status"].get("phase") in ENDED):
                pod.left = when
            if pod.serves:
                self._peaks[pod.model] = max(self._peaks[pod.model], len(self.of(pod.model)))
            self._changed.notify_all()

    def _summary(self) -> str:
        """What there is, for whoever waited for something else."""
        there = [pod for pod in self._pods.values() if pod.serves and pod.left is None]
        return "pods: " + (", ".join(f"{pod.name} on {pod.node or 'no node'}" for pod in there) or "none")
