"""The serving pod, as a pure function: Ollama with a ready model, beside any container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_kubernetes.core import v1 as core

from components.names import POOL_LABEL
from components.pod_parts import (
    CONFIG_DIR,
    HARDENED,
    HOME_DIR,
    NOT_EVICTED,
    OLLAMA_PORT,
    PROBE_SECONDS,
    claim_volume,
    config_volume,
    environment,
    restricted,
)
from runtime.spec import MODEL_ANNOTATION, ModelSpec, ServerSettings, server_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pulumi

START_PROBE_SECONDS = 1
"""The least there is: the main container waits for the probe, and a document waits for that."""

SLOWEST_START_SECONDS = 120
"""From the model directory being there to a server that answers, on a node that is slow in all it does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """Ollama with a ready model, as a pod's sidecar.

    Attributes:
        model: what is served, and where it lies.
        image: the image with `ollama-eks-serve` and Ollama in it.
        claim: a claim on the model store that cannot write.
        config: the ConfigMap that holds `model.json`.
        parallel: requests that the server answers at once.
        context_tokens: for requests that name no `num_ctx`.
        settings: what this model's server has another way.
        pool: the nodes that the pod may be on, by their label.
        gpus: GPUs of the server; 0 for none.
        cpu: processors that it asks for, such as `4`; None for what the node has left.
        memory_mib: its memory, MiB: the model's pages count too, and it reads them ahead only if they fit
            under 0.7 of this.
        port: where it listens, on loopback.
        health_port: where the main container says, under /server, whether the server still answers; None
            for one that does not say.
    """

    model: ModelSpec
    image: pulumi.Input[str]
    claim: pulumi.Input[str]
    config: pulumi.Input[str]
    parallel: int
    context_tokens: int
    settings: ServerSettings
    pool: str
    gpus: int
    memory_mib: int
    cpu: str | None = None
    port: int = OLLAMA_PORT
    health_port: int | None = None


def serving_pod(  # noqa: PLR0913  each is said by name
    serving: Serving,
    main: core.ContainerArgs,
    *,
    volumes: Sequence[core.VolumeArgs] = (),
    service_account: pulumi.Input[str],
    grace_seconds: int,
    priority_class: pulumi.Input[str] | None = None,
) -> core.PodSpecArgs:
    """A pod in which `main` finds the model at `http://127.0.0.1:<port>`, from its first moment to its last.

    The server is a native sidecar: it starts before `main` and is stopped after it, so a document in hand
    when the pod goes is still answered.

    Args:
        serving: the server.
        main: the container that uses it; `components.worker.container`, or any other.
        volumes: what `main` mounts beside `config`.
        service_account: whose AWS rights `main` has.
        grace_seconds: what the pod gets between SIGTERM and SIGKILL.
        priority_class: the pod's rank among those that want its node.
    """
    amounts: dict[str, pulumi.Input[str]] = {"memory": f"{serving.memory_mib}Mi"}
    if serving.gpus:
        amounts["nvidia.com/gpu"] = str(serving.gpus)
    server = core.ContainerArgs(
        name="server",
        image=serving.image,
        restart_policy="Always",
        command=["ollama-eks-serve", f"{CONFIG_DIR}/model.json"],
        env=[
            *environment(
                server_environment(
                    host=f"127.0.0.1:{serving.port}",
                    models=str(serving.model.directory),
                    parallel=serving.parallel,
                    settings=serving.settings,
                    context_tokens=serving.context_tokens,
                )
            ),
            *environment({"HOME": HOME_DIR}),
            # Pod Identity gives every container the pod's rights, unless this variable is there already.
            *environment({"AWS_CONTAINER_CREDENTIALS_FULL_URI": ""}),
        ],
        # By exec: the kubelet's own probes go to the pod's address, where this server does not listen.
        startup_probe=core.ProbeArgs(
            exec_=core.ExecActionArgs(command=["ollama", "ls"]),
            period_seconds=START_PROBE_SECONDS,
            timeout_seconds=PROBE_SECONDS,
            # It covers the wait for the model directory too, so that the wait ends with its own message.
            failure_threshold=(serving.model.wait_seconds + SLOWEST_START_SECONDS) // START_PROBE_SECONDS,
        ),
        liveness_probe=_asked_of_main(serving.health_port) if serving.health_port else None,
        resources=core.ResourceRequirementsArgs(
            requests=amounts | ({"cpu": serving.cpu} if serving.cpu else {}), limits=amounts
        ),
        volume_mounts=[
            core.VolumeMountArgs(name="models", mount_path=serving.model.store, read_only=True),
            core.VolumeMountArgs(name="config", mount_path=CONFIG_DIR, read_only=True),
            core.VolumeMountArgs(name="home", mount_path=HOME_DIR),
        ],
        security_context=HARDENED,
    )
    return core.PodSpecArgs(
        service_account_name=service_account,
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name=priority_class,
        node_selector={POOL_LABEL: serving.pool},
        tolerations=[core.TolerationArgs(key=POOL_LABEL, value=serving.pool, effect="NoSchedule")],
        termination_grace_period_seconds=grace_seconds,
        security_context=restricted(),
        init_containers=[server],
        containers=[main],
        volumes=[
            claim_volume("models", serving.claim, read_only=True),
            config_volume(serving.config),
            core.VolumeArgs(name="home", empty_dir=core.EmptyDirVolumeSourceArgs()),
            *volumes,
        ],
    )


def serving_annotations(serving: Serving) -> dict[str, str]:
    """What a template of such a pod has to be annotated with."""
    return {MODEL_ANNOTATION: serving.model.hash, **NOT_EVICTED}


def _asked_of_main(health_port: int) -> core.ProbeArgs:
    """Restarts the server when the container that puts documents to it says that it hangs.

    A server whose model hangs still answers every question that the kubelet could ask it; the probe goes to
    the pod's address, where the main container answers.
    """
    return core.ProbeArgs(
        http_get=core.HTTPGetActionArgs(path="/server", port=health_port),
        period_seconds=10,
        # The main container starts after the server does, and may be restarted itself.
        failure_threshold=6,
    )
