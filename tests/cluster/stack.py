"""The Kubernetes half of a stack in a cluster: brought up and taken down in the graph's own order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cli.graph import Graph
from tests.cluster import nodes
from tests.cluster.api import Answer, condition, reference
from tests.cluster.manifests import MANAGER, RELEASE, Manifest, in_levels, manifests
from tests.cluster.pods import Pods
from tests.cluster.processes import ProcessError
from tests.cluster.queues import Queues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.cluster.api import Object
    from tests.cluster.cluster import Cluster
    from tests.cluster.queues import Queue

JOB_SECONDS = 20
SCALED_SECONDS = 15
DELETE_SECONDS = 40
"""The namespace controller looks again every 5 s at what it could not delete at once."""


class Places(Protocol):
    """Where a graph's queues are."""

    def places(self, graph: Graph, /) -> Mapping[str, str]:
        """For each queue URL of the graph the one that KEDA is to watch."""
        ...


class Stack:
    """One stack at a time, as the namespaces have fixed names: another `up` makes another stack of it.

    Attributes:
        cluster: where it is.
        graph: as it was brought up last.
        manifests: its objects, in order.
        pods: all pods of the cluster, followed from the start.
    """

    def __init__(self, cluster: Cluster, queues: Places) -> None:
        self.cluster = cluster
        self.graph = Graph({}, {})
        self.manifests: list[Manifest] = []
        self.pods = Pods(cluster)
        self._queues = queues

    def close(self) -> None:
        """Follows its pods no longer; its objects stay."""
        self.pods.close()

    def up(self, graph: Graph, sizes: Mapping[str, int] | None = None) -> dict[str, Answer]:
        """Makes the cluster what the graph says, as `pulumi up` does; all is ready when this returns.

        Args:
            graph: the program's.
            sizes: nodes of each pool that has not as many as it may have.

        Returns:
            What the server answered, by the URN of the resource.
        """
        for group in nodes.groups(graph):
            group.add_nodes(self.cluster, (sizes or {}).get(group.pool, group.most))
        self.cluster.wait_for_nodes()
        graph_before, before = self.graph, self.manifests
        self.graph, self.manifests = graph, manifests(graph, self._queues.places(graph))
        answers: dict[str, Answer] = {}
        jobs: dict[str, Object] = {}
        for manifest in self.manifests:
            # What depends on a Job comes after its end, not only after its creation.
            for urn in manifest.after & jobs.keys():
                self._wait_until(jobs.pop(urn), "Complete", JOB_SECONDS)
            answers[manifest.urn] = self.send(manifest)
            if manifest.object["kind"] == "Job":
                jobs[manifest.urn] = manifest.object
        kept = {_key(manifest.object) for manifest in self.manifests}
        self._take_away(graph_before, [manifest for manifest in before if _key(manifest.object) not in kept])
        for manifest in self.manifests:
            if manifest.object["kind"] == "ScaledObject":
                self._wait_until_scaled(manifest.object)
        return answers

    def down(self) -> None:
        """Takes all away, each before what it depends on, and KEDA where its chart is in the order.

        Raises:
            ProcessError: something does not go.
        """
        self._take_away(self.graph, self.manifests, charts=True)
        self.graph, self.manifests = Graph({}, {}), []

    def queue(self, model: str) -> Queue:
        """A model's queue, where they are moto's."""
        assert isinstance(self._queues, Queues)
        return self._queues.of(self.graph, model)

    def objects(self, kind: str) -> list[Object]:
        """The manifests of a kind."""
        return [manifest.object for manifest in self.manifests if manifest.object["kind"] == kind]

    def of_model(self, kind: str, model: str) -> Object:
        """The one that has the model's name."""
        (found,) = (each for each in self.objects(kind) if each["metadata"]["name"] == model)
        return found

    def send(self, manifest: Manifest) -> Answer:
        """Creates or updates one object, as Pulumi does."""
        live = self.cluster.api.find(manifest.object)
        return self.cluster.api.apply(manifest.update_of(live) if live else manifest.object, MANAGER)

    def delete(self, target: Object) -> None:
        """Deletes one object, and waits until it is gone."""
        self.cluster.api.delete(target)
        self.cluster.wait_until_gone(target, DELETE_SECONDS)

    def _take_away(self, graph: Graph, gone: list[Manifest], *, charts: bool = False) -> None:
        """Deletes some of a graph's objects, each when all that depends on it is gone, and KEDA's chart."""
        objects = {manifest.urn: manifest.object for manifest in gone}
        for level in reversed(in_levels(graph)):
            targets = [objects[resource.urn] for resource in level if resource.urn in objects]
            for target in targets:
                self.cluster.api.delete(target)
            if charts and any(each.type == RELEASE and each.inputs["chart"] == "keda" for each in level):
                targets += self.cluster.keda.uninstall()
            for target in targets:
                self.cluster.wait_until_gone(target, DELETE_SECONDS)

    def _wait_until_scaled(self, scaled: Object) -> None:
        """Until KEDA has looked at it: it has an autoscaler, or is paused and has none."""
        paused = "autoscaling.keda.sh/paused-replicas" in scaled["metadata"].get("annotations", {})
        self._wait_until(scaled, "Paused" if paused else "Ready", SCALED_SECONDS)
        if not paused:
            autoscaler = self.autoscaler(scaled["metadata"]["name"])
            self.cluster.wait_for("KEDA makes an autoscaler", lambda: self.cluster.api.find(autoscaler), 10)

    def autoscaler(self, model: str) -> Object:
        """The HorizontalPodAutoscaler that KEDA keeps for a model, by name."""
        namespace = self.of_model("ScaledObject", model)["metadata"]["namespace"]
        return reference("autoscaling/v2", "HorizontalPodAutoscaler", f"keda-hpa-{model}", namespace)

    def _wait_until(self, target: Object, kind: str, seconds: float) -> None:
        def holds() -> bool:
            return condition(self.cluster.api.find(target), kind).get("status") == "True"

        name = target["metadata"]["name"]
        try:
            self.cluster.wait_for(f"{target['kind']} {name} is {kind}", holds, seconds)
        except ProcessError as error:
            events = self.cluster.api.list("v1", "Event", target["metadata"].get("namespace", ""))
            told = [each["message"] for each in events if each["involvedObject"]["name"] == name]
            raise ProcessError("\n".join([str(error), *(f"  event: {each}" for each in told)])) from None


def _key(target: Object) -> tuple[str, str, str, str]:
    metadata = target["metadata"]
    return target["apiVersion"], target["kind"], metadata.get("namespace", ""), metadata["name"]
