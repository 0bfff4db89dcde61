"""What the pods of this program are made of: security, volumes, variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_kubernetes.core import v1 as core

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi

OLLAMA_PORT = 11434
OLLAMA_HOST = f"127.0.0.1:{OLLAMA_PORT}"
"""Loopback, since Ollama knows no authentication: only the pod's own containers reach it."""

CONFIG_DIR = "/etc/ollama-eks"
HOME_DIR = "/home/ollama"

API_TOKEN_MOUNT = core.VolumeMountArgs(
    name="api-token", mount_path="/var/run/secrets/kubernetes.io/serviceaccount", read_only=True
)
"""Where client libraries look for it. By hand: Kubernetes' own automation mounts it into every container."""

API_TOKEN_SECONDS = 3600
"""The kubelet renews it before (Kubernetes manual, service account token volume projection)."""

PROBE_SECONDS = 5
"""The period of a probe, or its time-out, where nothing speaks for another."""

NOT_EVICTED = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
"""Annotation: the autoscaler would otherwise empty a node that it finds too idle, busy pods and all."""

HARDENED = core.SecurityContextArgs(
    allow_privilege_escalation=False,
    read_only_root_filesystem=True,
    capabilities=core.CapabilitiesArgs(drop=["ALL"]),
)


def api_token_volume() -> core.VolumeArgs:
    """A token for the Kubernetes API, for those containers alone that mount it with `API_TOKEN_MOUNT`."""
    token = core.ServiceAccountTokenProjectionArgs(path="token", expiration_seconds=API_TOKEN_SECONDS)
    authority = core.ConfigMapProjectionArgs(
        # In every namespace, by Kubernetes itself.
        name="kube-root-ca.crt",
        items=[core.KeyToPathArgs(key="ca.crt", path="ca.crt")],
    )
    sources = [
        core.VolumeProjectionArgs(service_account_token=token),
        core.VolumeProjectionArgs(config_map=authority),
    ]
    return core.VolumeArgs(
        name=API_TOKEN_MOUNT.name, projected=core.ProjectedVolumeSourceArgs(sources=sources)
    )


def field(name: str, path: str) -> core.EnvVarArgs:
    """A variable that says something of the pod itself."""
    source = core.EnvVarSourceArgs(field_ref=core.ObjectFieldSelectorArgs(field_path=path))
    return core.EnvVarArgs(name=name, value_from=source)


def environment(values: Mapping[str, str]) -> list[core.EnvVarArgs]:
    """Variables as a container has them."""
    return [core.EnvVarArgs(name=name, value=value) for name, value in values.items()]


def restricted() -> core.PodSecurityContextArgs:
    """What the pod security standard `restricted` asks of a pod."""
    return core.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=1000,
        fs_group=1000,
        seccomp_profile=core.SeccompProfileArgs(type="RuntimeDefault"),
    )


def claim_volume(name: str, claim: pulumi.Input[str], *, read_only: bool) -> core.VolumeArgs:
    """A claim that is there, as a volume."""
    source = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=claim, read_only=read_only)
    return core.VolumeArgs(name=name, persistent_volume_claim=source)


def config_volume(name: pulumi.Input[str]) -> core.VolumeArgs:
    """A ConfigMap as the volume `config`."""
    return core.VolumeArgs(name="config", config_map=core.ConfigMapVolumeSourceArgs(name=name))
