"""The pods that can write to the model store: one readies a model, one removes what nobody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_kubernetes.core import v1 as core

from components.names import POOL_LABEL, SYSTEM_POOL
from components.pod_parts import (
    API_TOKEN_MOUNT,
    CONFIG_DIR,
    HARDENED,
    HOME_DIR,
    OLLAMA_HOST,
    api_token_volume,
    claim_volume,
    config_volume,
    environment,
    restricted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pulumi

    from runtime.spec import ModelSpec

LAST_WORDS = "FallbackToLogsOnError"
"""A failed container's last lines of log are its reason: in the pod's status, and so in Pulumi's output."""


def provisioning_pod(  # noqa: PLR0913  each is said by name
    *,
    image: pulumi.Input[str],
    model: ModelSpec,
    claim: pulumi.Input[str],
    config: pulumi.Input[str],
    region: str,
    service_account: pulumi.Input[str],
) -> core.PodSpecArgs:
    """The pod that readies a model; it needs no GPU.

    Args:
        image: the image with `ollama-eks-provision` and Ollama in it.
        model: what it makes ready.
        claim: a claim on the model store that can write.
        config: the ConfigMap that holds `model.json`.
        region: AWS region, for models that lie in S3.
        service_account: whose AWS rights the pod has.
    """
    provision = core.ContainerArgs(
        name="provision",
        image=image,
        command=["ollama-eks-provision", f"{CONFIG_DIR}/model.json"],
        env=environment({"OLLAMA_HOST": OLLAMA_HOST, "HOME": HOME_DIR, "AWS_DEFAULT_REGION": region}),
        resources=core.ResourceRequirementsArgs(
            requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "4Gi"}
        ),
        volume_mounts=[
            core.VolumeMountArgs(name="models", mount_path=model.store),
            core.VolumeMountArgs(name="config", mount_path=CONFIG_DIR, read_only=True),
            core.VolumeMountArgs(name="home", mount_path=HOME_DIR),
        ],
        termination_message_policy=LAST_WORDS,
        security_context=HARDENED,
    )
    return _writing_pod(provision, config_volume(config), claim=claim, service_account=service_account)


def collecting_pod(
    *,
    image: pulumi.Input[str],
    store: str,
    lists: Sequence[pulumi.Input[str]],
    claim: pulumi.Input[str],
    service_account: pulumi.Input[str],
) -> core.PodSpecArgs:
    """The pod that removes models which no workload names.

    Args:
        image: the image with `ollama-eks-provision` in it.
        store: where the model store is mounted.
        lists: paths of the API server under which it lists the workloads.
        claim: a claim on the model store that can write.
        service_account: whose right to list those workloads the pod has.
    """
    collect = core.ContainerArgs(
        name="collect",
        image=image,
        command=[
            *("ollama-eks-provision", "--collect", store),
            *(word for path in lists for word in ("--roots-of", path)),
        ],
        env=environment({"HOME": HOME_DIR}),
        resources=core.ResourceRequirementsArgs(
            requests={"cpu": "50m", "memory": "128Mi"}, limits={"memory": "512Mi"}
        ),
        volume_mounts=[
            core.VolumeMountArgs(name="models", mount_path=store),
            core.VolumeMountArgs(name="home", mount_path=HOME_DIR),
            API_TOKEN_MOUNT,
        ],
        termination_message_policy=LAST_WORDS,
        security_context=HARDENED,
    )
    return _writing_pod(collect, api_token_volume(), claim=claim, service_account=service_account)


def _writing_pod(
    container: core.ContainerArgs,
    volume: core.VolumeArgs,
    *,
    claim: pulumi.Input[str],
    service_account: pulumi.Input[str],
) -> core.PodSpecArgs:
    """A pod that can write to the model store: on a system node, for one run."""
    return core.PodSpecArgs(
        service_account_name=service_account,
        automount_service_account_token=False,
        enable_service_links=False,
        node_selector={POOL_LABEL: SYSTEM_POOL},
        # A failed pod stays, with its log; the Job makes another one.
        restart_policy="Never",
        security_context=restricted(),
        containers=[container],
        volumes=[
            claim_volume("models", claim, read_only=False),
            core.VolumeArgs(name="home", empty_dir=core.EmptyDirVolumeSourceArgs()),
            volume,
        ],
    )
