"""A whole cluster on loopback: a real control plane, a real KEDA, and nodes that are simulated."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.cluster import control_plane, keda
from tests.cluster.api import condition, reference
from tests.cluster.keda import Keda
from tests.cluster.processes import ProcessError, Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from pathlib import Path

    from tests.cluster.api import Api, Object

NODE_SECONDS = 30
HPA_SYNC_SECONDS = 2
"""Kubernetes' default is 15: in production the second pod comes that much later than it does here."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        api: asked as an administrator.
        processes: all its programs; see `keda` and `control_plane` for their names.
        keda: the KEDA that runs in it.
    """

    api: Api
    processes: Processes
    keda: Keda

    @property
    def url(self) -> str:
        """The API server's, for clients of any kind."""
        return self.api.url

    @property
    def ca(self) -> Path:
        """The file with the authority that clients trust."""
        return self.api.ca

    def token(self, namespace: str, account: str, pod: Object | None = None, seconds: int = 3600) -> str:
        """A token of a service account, bound to a pod where one is given, as a projected volume has it."""
        return _token(self.api, reference("v1", "ServiceAccount", account, namespace), pod, seconds)

    def add_node(  # noqa: PLR0913  what a node is
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        taints: Iterable[Object] = (),
        gpus: int = 0,
        cpu: str = "4",
        memory: str = "16Gi",
    ) -> None:
        """Adds a simulated node; `wait_for_nodes` waits until it takes pods.

        Args:
            name: must be new.
            labels: besides those that every node has.
            taints: as Kubernetes spells them.
            gpus: `nvidia.com/gpu`.
            cpu: all of it can be allocated, as is so of `memory`.
            memory: likewise.
        """
        amounts = {"cpu": cpu, "memory": memory, "ephemeral-storage": "100Gi", "pods": "110"}
        if gpus:
            amounts["nvidia.com/gpu"] = str(gpus)
        own = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        node = reference("v1", "Node", name)
        node["metadata"] |= {"labels": {**own, **(labels or {})}, "annotations": control_plane.SIMULATED}
        node |= {
            "spec": {"taints": list(taints)},
            "status": {"capacity": amounts, "allocatable": amounts},
        }
        self.api.create(node)

    def wait_for_nodes(self) -> None:
        """Waits until every node is ready and takes pods."""
        self.wait_for(
            "every node is ready",
            lambda: all(_takes_pods(node) for node in self.api.list("v1", "Node")),
            NODE_SECONDS,
        )

    def wait_for(self, what: str, call: Callable[[], Any], seconds: float) -> Any:  # noqa: ANN401  what it gives
        """Waits until a call gives something true, and gives that back.

        Raises:
            ProcessError: it did not in time, or one of the cluster's processes ended meanwhile.
        """
        return self.processes.wait_for(what, call, seconds)

    def wait_until_gone(self, target: Object, seconds: float) -> None:
        """Waits until there is no such object.

        Raises:
            ProcessError: there still is; the message has its finalisers and conditions.
        """
        name = f"{target['kind']} {target['metadata']['name']}"
        try:
            self.wait_for(f"{name} is gone", lambda: not self.api.find(target), seconds)
        except ProcessError as error:
            found = self.api.find(target) or {"metadata": {}}
            conditions = found.get("status", {}).get("conditions")
            finalisers = found["metadata"].get("finalizers")
            raise ProcessError(f"{error}\n  finalisers: {finalisers}\n  conditions: {conditions}") from None


@contextmanager
def running(
    programs: Mapping[str, Path], folder: Path, operator_env: Mapping[str, str]
) -> Generator[Cluster]:
    """A cluster with KEDA and without nodes, until the block ends.

    Args:
        programs: each tool's folder, as `tools.folders()` gives them.
        folder: for data, certificates and logs.
        operator_env: the environment of KEDA's operator, such as where its AWS is.
    """
    with Processes(folder) as processes:
        plane = control_plane.start(programs, processes, HPA_SYNC_SECONDS)
        kubeconfig = folder / "keda.kubeconfig"
        scaler = Keda(plane.api, processes, programs["keda"], kubeconfig)
        scaler.install()
        # As itself, so that the rights which its source gives it are all it has.
        token = _token(plane.api, keda.ACCOUNT, None, 86_400)
        control_plane.write_kubeconfig(kubeconfig, plane.api.as_bearer(token))
        scaler.start(operator_env)
        try:
            yield Cluster(plane.api, processes, scaler)
        finally:
            plane.api.close()


def _token(api: Api, account: Object, pod: Object | None, seconds: int) -> str:
    spec: Object = {"expirationSeconds": seconds}
    if pod:
        metadata = pod["metadata"]
        spec["boundObjectRef"] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return api.request("POST", api.path(account, "token"), body).json()["status"]["token"]


def _takes_pods(node: Object) -> bool:
    waiting = [taint for taint in node["spec"].get("taints", []) if "node.kubernetes.io/" in taint["key"]]
    return condition(node, "Ready").get("status") == "True" and not waiting
