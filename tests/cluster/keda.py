"""KEDA: operator, metrics adapter and webhooks as processes, all else from its own source's `config`."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from components.keda import KEDA_NAMESPACE, KEDA_SERVICE_ACCOUNT
from components.names import SERVING_NAMESPACE
from tests.cluster import certificates
from tests.cluster.api import condition, reference
from tests.cluster.control_plane import MANY_REQUESTS
from tests.cluster.processes import free_ports, listens

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.cluster.api import Api, Object
    from tests.cluster.processes import Processes

START_SECONDS = 30
MANAGER = "helm"

OPERATOR, ADAPTER, WEBHOOKS = "keda-operator", "keda-adapter", "keda-webhooks"

RIGHTS = (
    "service_account/service_account.yaml",
    "rbac/role.yaml",
    "rbac/role_binding.yaml",
    "metrics-server/role.yaml",
    "metrics-server/role_binding.yaml",
)

SERVICES = ("keda-metrics-apiserver", "keda-admission-webhooks")
"""What the API server calls the adapter and the webhooks."""

ACCOUNT = reference("v1", "ServiceAccount", KEDA_SERVICE_ACCOUNT, KEDA_NAMESPACE)


@dataclass(frozen=True)
class Keda:
    """KEDA in a cluster.

    Attributes:
        api: of the cluster, asked as an administrator.
        processes: where its programs run.
        programs: the folder of its programs and its `config`.
        kubeconfig: of its own service account.
    """

    api: Api
    processes: Processes
    programs: Path
    kubeconfig: Path

    def install(self) -> None:
        """Makes its custom resource definitions, its account and the account's rights."""
        self.api.apply(reference("v1", "Namespace", KEDA_NAMESPACE), MANAGER)
        for each in (*self._definitions(), *self._objects(*RIGHTS)):
            self.api.apply(each, MANAGER)

    def start(self, env: Mapping[str, str]) -> None:
        """Starts its programs, and gives the API server its metrics and its webhooks; ready on return.

        Args:
            env: of the operator, such as where its AWS is.
        """
        for each in self._definitions():
            # Without them the operator waits for two minutes, and then ends.
            self._wait_for_condition(each, "Established")
        authority = certificates.Authority("keda", self.processes.folder)
        folder = self._certificates(authority)
        operator, adapter, webhooks = free_ports(3)
        self._start_operator(folder, operator, env)
        self._start_adapter(folder, adapter, operator)
        self._start_webhooks(folder, webhooks)
        self._connect(adapter, webhooks, authority)
        self.wait_for_operator()
        self._wait_for_condition(self._metrics(), "Available", ADAPTER)
        self.processes.wait_for("the webhooks listen", lambda: listens(webhooks), START_SECONDS, WEBHOOKS)

    def wait_for_operator(self) -> None:
        """Waits until the operator works; its /readyz says so long before."""
        port = int(self.processes.argument(OPERATOR, "--metrics-service-bind-address").rpartition(":")[2])
        # It opens this one when its caches are filled and its controllers run.
        self.processes.wait_for("the operator listens", lambda: listens(port), START_SECONDS, OPERATOR)

    def uninstall(self) -> list[Object]:
        """Takes all of it away at once, as Helm does; gives what has to be gone soon."""
        gone = [
            *self._admission(),
            self._metrics(),
            *self._objects(*reversed(RIGHTS)),
            *self._definitions(),
        ]
        for name in (OPERATOR, ADAPTER, WEBHOOKS):
            self.processes.stop(name)
        for each in gone:
            self.api.delete(each)
        return gone

    def _start_operator(self, certificates: Path, port: int, env: Mapping[str, str]) -> None:
        metrics, probe = free_ports(2)
        self.processes.start(
            OPERATOR,
            self.programs / "operator",
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            *MANY_REQUESTS,
            f"--cert-dir={certificates}",
            # Its own rotation writes a Secret that a kubelet would mount, and there is none.
            "--enable-cert-rotation=false",
            f"--metrics-service-bind-address=127.0.0.1:{port}",
            f"--metrics-bind-address=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{probe}",
            env={**_SURROUNDINGS, **env},
        )

    def _start_adapter(self, certificates: Path, port: int, operator: int) -> None:
        (metrics,) = free_ports(1)
        self.processes.start(
            ADAPTER,
            self.programs / "adapter",
            # Without the lister's it ends, with exit code 0.
            *(
                f"--{whose}kubeconfig={self.kubeconfig}"
                for whose in ("", "lister-", "authentication-", "authorization-")
            ),
            f"--cert-dir={certificates}",
            f"--client-ca-file={certificates / 'ca.crt'}",
            f"--tls-cert-file={certificates / 'tls.crt'}",
            f"--tls-private-key-file={certificates / 'tls.key'}",
            f"--metrics-service-address=127.0.0.1:{operator}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--port={metrics}",
            env=_SURROUNDINGS,
        )

    def _start_webhooks(self, certificates: Path, port: int) -> None:
        metrics, probe = free_ports(2)
        self.processes.start(
            WEBHOOKS,
            self.programs / "webhooks",
            f"--kubeconfig={self.kubeconfig}",
            f"--cert-dir={certificates}",
            f"--port={port}",
            f"--metrics-bind-address=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{probe}",
            env=_SURROUNDINGS,
        )

    def _certificates(self, authority: certificates.Authority) -> Path:
        """One certificate for all that KEDA serves and calls, as its own rotation makes it."""
        folder = self.processes.folder / "keda-certificates"
        folder.mkdir()
        hosts = (f"{name}.{KEDA_NAMESPACE}.svc" for name in (OPERATOR, *SERVICES))
        authority.issue(folder, "tls", *hosts)
        (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
        return folder

    def _connect(self, adapter: int, webhooks: int, authority: certificates.Authority) -> None:
        """Tells the API server where both are: a Service without endpoints, that is loopback by name."""
        bundle = base64.b64encode(authority.certificate.read_bytes()).decode()
        for name in SERVICES:
            service = reference("v1", "Service", name, KEDA_NAMESPACE)
            spec = {"type": "ExternalName", "externalName": "localhost"}
            self.api.apply({**service, "spec": spec}, MANAGER)
        metrics = self._metrics()
        metrics["spec"]["caBundle"] = bundle
        metrics["spec"]["service"]["port"] = adapter
        self.api.apply(metrics, MANAGER)
        for admission in self._admission():
            for webhook in admission["webhooks"]:
                webhook["clientConfig"]["caBundle"] = bundle
                webhook["clientConfig"]["service"]["port"] = webhooks
                # The source says Ignore; a webhook that is not asked would be a test that passes unseen.
                webhook["failurePolicy"] = "Fail"
            self.api.apply(admission, MANAGER)

    def _wait_for_condition(self, target: Object, kind: str, log_of: str | None = None) -> None:
        self.processes.wait_for(
            f"{target['metadata']['name']} is {kind}",
            lambda: condition(self.api.find(target), kind).get("status") == "True",
            START_SECONDS,
            log_of,
        )

    def _metrics(self) -> Object:
        (service,) = self._objects("metrics-server/api_service.yaml")
        return service

    def _admission(self) -> list[Object]:
        return self._objects("webhooks/validation_webhooks.yaml")

    def _definitions(self) -> list[Object]:
        folder = self.programs / "config/crd/bases"
        return self._objects(
            *sorted(str(path.relative_to(self.programs / "config")) for path in folder.iterdir())
        )

    def _objects(self, *paths: str) -> list[Object]:
        files = (self.programs / "config" / path for path in paths)
        loaded: list[Any] = [each for path in files for each in yaml.safe_load_all(path.read_text())]
        return [each for each in loaded if each]


_SURROUNDINGS = {
    # As the program tells the chart; the operator ends at once where this or the next one is not set.
    "WATCH_NAMESPACE": SERVING_NAMESPACE,
    "KEDA_CLUSTER_OBJECT_NAMESPACE": KEDA_NAMESPACE,
    "POD_NAME": "keda-0",
    "POD_NAMESPACE": KEDA_NAMESPACE,
}
