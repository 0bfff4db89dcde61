"""The main container of a model's own pods: it takes documents from the queue to the server beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_kubernetes.core import v1 as core

from components.pod_parts import (
    API_TOKEN_MOUNT,
    CONFIG_DIR,
    HARDENED,
    OLLAMA_HOST,
    PROBE_SECONDS,
    api_token_volume,
    environment,
    field,
)

if TYPE_CHECKING:
    import pulumi

SCRATCH_DIR = "/scratch"
"""The worker's only place to write: documents that are too big for memory, and what it has in hand."""

SCRATCH_SIZE = "16Gi"
"""Beyond it the kubelet evicts the pod: three documents for each of 64 slots at most, of 64 MiB each."""


def container(*, image: pulumi.Input[str], region: str, health_port: int) -> core.ContainerArgs:
    """The container.

    Args:
        image: the image with `ollama-eks-work` in it.
        region: AWS region of everything that it calls.
        health_port: where it says how it and the server are.
    """
    return core.ContainerArgs(
        name="worker",
        image=image,
        command=["ollama-eks-work", f"{CONFIG_DIR}/task.json"],
        env=[
            *environment({"OLLAMA_HOST": OLLAMA_HOST, "AWS_DEFAULT_REGION": region, "TMPDIR": SCRATCH_DIR}),
            # Without an association there are no rights, and never the node's: it does not look for them.
            *environment({"AWS_EC2_METADATA_DISABLED": "true"}),
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
        ],
        ports=[core.ContainerPortArgs(name="health", container_port=health_port)],
        readiness_probe=core.ProbeArgs(
            http_get=core.HTTPGetActionArgs(path="/ready", port=health_port), period_seconds=PROBE_SECONDS
        ),
        liveness_probe=core.ProbeArgs(
            http_get=core.HTTPGetActionArgs(path="/live", port=health_port),
            period_seconds=10,
            failure_threshold=3,
        ),
        resources=core.ResourceRequirementsArgs(
            requests={"cpu": "250m", "memory": "256Mi"},
            # 150 MiB are its own; the rest is for the child processes that read two documents at once.
            limits={"memory": "2Gi"},
        ),
        volume_mounts=[
            core.VolumeMountArgs(name="config", mount_path=CONFIG_DIR, read_only=True),
            core.VolumeMountArgs(name="scratch", mount_path=SCRATCH_DIR),
            # It says of its own pod whether it is busy, and ends it where it was admitted without rights.
            API_TOKEN_MOUNT,
        ],
        security_context=HARDENED,
    )


def volumes() -> tuple[core.VolumeArgs, ...]:
    """What a worker mounts and no other container of its pod does."""
    scratch = core.EmptyDirVolumeSourceArgs(size_limit=SCRATCH_SIZE)
    return (core.VolumeArgs(name="scratch", empty_dir=scratch), api_token_volume())
