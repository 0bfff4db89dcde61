"""Kubernetes' own control plane on loopback, and KWOK, which keeps nodes that are simulated."""

from __future__ import annotations

import json
import secrets
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from tests.cluster import certificates
from tests.cluster.api import Api
from tests.cluster.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.cluster.processes import Processes

START_SECONDS = 60

MANY_REQUESTS = ("--kube-api-qps=200", "--kube-api-burst=400")
"""By default a client asks 20 times a second, which a stack that comes up all at once would wait for."""

NODE_SUBNET = "10.1.0.0/16"
SIMULATED = {"kwok.x-k8s.io/node": "fake"}
"""The annotation of the nodes that KWOK keeps, and whose pods it starts and ends."""

STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
"""What KWOK makes of nodes and pods; the program brings none of its own. All of them act at once."""

WARNS_OF_TEMPLATES = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [
        {
            "name": "PodSecurity",
            "configuration": {
                "apiVersion": "pod-security.admission.config.k8s.io/v1",
                "kind": "PodSecurityConfiguration",
                "defaults": {"warn": "restricted", "warn-version": "latest"},
            },
        }
    ],
}
"""Pod security refuses pods, never templates; like this it warns of a template whose pods it would refuse."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running control plane without a node.

    Attributes:
        api: its API server, asked as a cluster administrator.
        authority: signed the server's certificate.
        kubeconfig: the administrator's, for programs that want one.
    """

    api: Api
    authority: certificates.Authority
    kubeconfig: Path


def start(programs: Mapping[str, Path], processes: Processes, hpa_sync_seconds: int) -> ControlPlane:
    """Starts it; ready when this returns.

    Args:
        programs: folder of each tool's programs.
        processes: where they run.
        hpa_sync_seconds: how often the autoscaler looks at its metrics.
    """
    folder = processes.folder
    api_port, controllers_port, scheduler_port, kwok_port = free_ports(4)
    etcd = _start_etcd(programs["etcd"], processes)
    authority = certificates.Authority("kubernetes", folder)
    accounts = certificates.service_account_key(folder)
    admin = secrets.token_urlsafe()
    _start_api_server(programs["kubernetes"], processes, etcd, api_port, authority, accounts, admin)
    api = Api(f"https://127.0.0.1:{api_port}", authority.certificate, admin)
    kubeconfig = write_kubeconfig(folder / "admin.kubeconfig", api)
    processes.wait_for(
        "the API server is ready",
        _up(f"{api.url}/readyz"),
        START_SECONDS,
        "kube-apiserver",
    )
    own = (f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}")
    own += (f"--authorization-kubeconfig={kubeconfig}", "--bind-address=127.0.0.1", "--leader-elect=false")
    own += MANY_REQUESTS
    processes.start(
        "kube-controller-manager",
        programs["kubernetes"] / "kube-controller-manager",
        *own,
        f"--secure-port={controllers_port}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={accounts}",
        f"--root-ca-file={authority.certificate}",
        f"--horizontal-pod-autoscaler-sync-period={hpa_sync_seconds}s",
        # By default a claim that came before its volume waits a quarter of a minute.
        "--pvclaimbinder-sync-period=1s",
    )
    processes.start(
        "kube-scheduler", programs["kubernetes"] / "kube-scheduler", *own, f"--secure-port={scheduler_port}"
    )
    _start_kwok(programs["kwok"], processes, kubeconfig, kwok_port)
    for name, port in (("kube-controller-manager", controllers_port), ("kube-scheduler", scheduler_port)):
        processes.wait_for(
            f"{name} is healthy", _up(f"https://127.0.0.1:{port}/healthz"), START_SECONDS, name
        )
    return ControlPlane(api, authority, kubeconfig)


def write_kubeconfig(path: Path, api: Api) -> Path:
    """Writes how to reach the API server as whoever the client is."""
    cluster = {"server": api.url, "certificate-authority": str(api.ca)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "loopback", "cluster": cluster}],
        "users": [{"name": "user", "user": {"token": api.token}}],
        "contexts": [{"name": "only", "context": {"cluster": "loopback", "user": "user"}}],
        "current-context": "only",
    }
    path.write_text(json.dumps(config))
    return path


def _start_etcd(folder: Path, processes: Processes) -> str:
    """Starts the store and gives its URL; the API server itself waits until it answers."""
    clients, peers = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    processes.start(
        "etcd",
        folder / "server",
        f"--data-dir={processes.folder / 'etcd'}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    )
    return clients


def _start_api_server(  # noqa: PLR0913, PLR0917  it joins all of them
    folder: Path,
    processes: Processes,
    etcd: str,
    port: int,
    authority: certificates.Authority,
    accounts: Path,
    admin: str,
) -> None:
    files = processes.folder
    certificate, key = authority.issue(
        files, "kube-apiserver", "kubernetes", "kubernetes.default", "kubernetes.default.svc"
    )
    front = certificates.Authority("front-proxy", files)
    front_certificate, front_key = front.issue(files, "front-proxy-client")
    tokens = files / "tokens.csv"
    tokens.write_text(f"{admin},admin,admin,system:masters\n")
    admission = files / "admission.json"
    admission.write_text(json.dumps(WARNS_OF_TEMPLATES))
    processes.start(
        "kube-apiserver",
        folder / "kube-apiserver",
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        # Loopback cannot be the endpoint of a Service.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        f"--admission-control-config-file={admission}",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        "--service-account-issuer=https://kubernetes.default.svc",
        # Aggregation, for KEDA's metrics. Its routing by endpoints stays off: there are none on loopback.
        f"--client-ca-file={authority.certificate}",
        f"--requestheader-client-ca-file={front.certificate}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={front_certificate}",
        f"--proxy-client-key-file={front_key}",
    )


def _start_kwok(folder: Path, processes: Processes, kubeconfig: Path, port: int) -> None:
    stages = processes.folder / "stages.yaml"
    stages.write_text("---\n".join((folder / "kustomize/stage" / stage).read_text() for stage in STAGES))
    ((annotation, value),) = SIMULATED.items()
    processes.start(
        "kwok",
        folder / "kwok",
        f"--kubeconfig={kubeconfig}",
        f"--config={stages}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={annotation}={value}",
        "--node-lease-duration-seconds=40",
        f"--cidr={NODE_SUBNET}",
        "--node-ip=127.0.0.1",
        f"--server-address=127.0.0.1:{port}",
    )


def _up(url: str) -> Callable[[], bool]:
    """Whether it answers well; who it is does not matter."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def is_up() -> bool:
        try:
            return httpx.get(url, verify=context, timeout=2, trust_env=False).is_success
        except httpx.TransportError:
            return False

    return is_up
