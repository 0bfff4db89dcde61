"""The pods, as pure functions: Ollama beside any container, and the Job that readies its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_kubernetes.core import v1 as core

from components.names import MODEL_POOL, POOL_LABEL, SYSTEM_POOL
from runtime.spec import ModelSpec, ServerSettings, server_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi

OLLAMA_HOST = "127.0.0.1:11434"
"""Loopback, since Ollama knows no authentication: only the pod's own containers reach it."""

CONFIG_DIR = "/etc/ollama-eks"
HOME_DIR = "/home/ollama"
SCRATCH_DIR = "/scratch"
"""The worker's only place to write: documents that are too big for memory, and what it has in hand."""

SCRATCH_SIZE = "16Gi"
"""Beyond it the kubelet evicts the pod: three documents for each of 64 slots at most, of 64 MiB each."""

PROBE_SECONDS = 5
START_PROBE_SECONDS = 1
"""The least there is: the main container waits for the probe, and a document waits for that."""

SLOWEST_START_SECONDS = 120
"""From the model directory being there to a server that answers, on a node that is slow in all it does."""

HARDENED = core.SecurityContextArgs(
    allow_privilege_escalation=False,
    read_only_root_filesystem=True,
    capabilities=core.CapabilitiesArgs(drop=["ALL"]),
)


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
        gpus: GPUs of the server; 0 for none.
        memory_mib: its memory, MiB: the model's pages count too, and it reads them ahead only if they fit
            under 0.7 of this.
        health_port: where the main container says, under /server, whether the server still answers; None
            for one that does not say.
    """

    model: ModelSpec
    image: str
    claim: pulumi.Input[str]
    config: pulumi.Input[str]
    parallel: int
    context_tokens: int
    settings: ServerSettings
    gpus: int
    memory_mib: int
    health_port: int | None = None


def serving_pod(
    serving: Serving, main: core.ContainerArgs, *, service_account: pulumi.Input[str], grace_seconds: int
) -> core.PodSpecArgs:
    """A pod in which `main` finds the model at `http://127.0.0.1:11434`, from its first moment to its last.

    The server is a native sidecar: it starts before `main` and is stopped after it, so a document in hand
    when the pod goes is still answered.

    Args:
        serving: the server.
        main: the container that uses it; `ollama-eks-work`, or any other.
        service_account: whose AWS rights `main` has.
        grace_seconds: what the pod gets between SIGTERM and SIGKILL.
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
            *_environment(
                server_environment(
                    host=OLLAMA_HOST,
                    models=str(serving.model.directory),
                    parallel=serving.parallel,
                    settings=serving.settings,
                    context_tokens=serving.context_tokens,
                )
            ),
            *_environment({"HOME": HOME_DIR}),
            # Pod Identity gives every container the pod's rights, unless this variable is there already.
            *_environment({"AWS_CONTAINER_CREDENTIALS_FULL_URI": ""}),
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
        resources=core.ResourceRequirementsArgs(requests=amounts, limits=amounts),
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
        node_selector={POOL_LABEL: MODEL_POOL},
        tolerations=[core.TolerationArgs(key=POOL_LABEL, value=MODEL_POOL, effect="NoSchedule")],
        termination_grace_period_seconds=grace_seconds,
        security_context=_restricted(),
        init_containers=[server],
        containers=[main],
        volumes=[
            _claim("models", serving.claim, read_only=True),
            _config(serving.config),
            core.VolumeArgs(name="home", empty_dir=core.EmptyDirVolumeSourceArgs()),
            core.VolumeArgs(name="scratch", empty_dir=core.EmptyDirVolumeSourceArgs(size_limit=SCRATCH_SIZE)),
        ],
    )


def provisioning_pod(  # noqa: PLR0913  each is said by name
    *,
    image: str,
    model: ModelSpec,
    claim: pulumi.Input[str],
    config: pulumi.Input[str],
    region: str,
    service_account: pulumi.Input[str],
) -> core.PodSpecArgs:
    """The pod that readies a model: it alone can write to the store, and it needs no GPU.

    Args:
        image: the image with `ollama-eks-provision` and Ollama in it.
        model: what it makes ready.
        claim: a claim on the model store that can write.
        config: the ConfigMap that holds `model.json`.
        region: AWS region, for models that lie in S3.
        service_account: whose AWS rights the pod has.
    """
    return core.PodSpecArgs(
        service_account_name=service_account,
        automount_service_account_token=False,
        node_selector={POOL_LABEL: SYSTEM_POOL},
        # A failed pod stays, with its log; the Job makes another one.
        restart_policy="Never",
        security_context=_restricted(),
        containers=[
            core.ContainerArgs(
                name="provision",
                image=image,
                command=["ollama-eks-provision", f"{CONFIG_DIR}/model.json"],
                env=_environment(
                    {"OLLAMA_HOST": OLLAMA_HOST, "HOME": HOME_DIR, "AWS_DEFAULT_REGION": region}
                ),
                resources=core.ResourceRequirementsArgs(
                    requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "4Gi"}
                ),
                volume_mounts=[
                    core.VolumeMountArgs(name="models", mount_path=model.store),
                    core.VolumeMountArgs(name="config", mount_path=CONFIG_DIR, read_only=True),
                    core.VolumeMountArgs(name="home", mount_path=HOME_DIR),
                ],
                security_context=HARDENED,
            )
        ],
        volumes=[
            _claim("models", claim, read_only=False),
            _config(config),
            core.VolumeArgs(name="home", empty_dir=core.EmptyDirVolumeSourceArgs()),
        ],
    )


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


def worker_container(*, image: str, region: str, health_port: int) -> core.ContainerArgs:
    """The main container of a model's own pods: it takes documents from the queue to the server."""
    return core.ContainerArgs(
        name="worker",
        image=image,
        command=["ollama-eks-work", f"{CONFIG_DIR}/task.json"],
        env=_environment({"OLLAMA_HOST": OLLAMA_HOST, "AWS_DEFAULT_REGION": region, "TMPDIR": SCRATCH_DIR}),
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
        ],
        security_context=HARDENED,
    )


def _environment(values: Mapping[str, str]) -> list[core.EnvVarArgs]:
    return [core.EnvVarArgs(name=name, value=value) for name, value in values.items()]


def _restricted() -> core.PodSecurityContextArgs:
    """What the pod security standard `restricted` asks of a pod."""
    return core.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=1000,
        fs_group=1000,
        seccomp_profile=core.SeccompProfileArgs(type="RuntimeDefault"),
    )


def _claim(name: str, claim: pulumi.Input[str], *, read_only: bool) -> core.VolumeArgs:
    source = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=claim, read_only=read_only)
    return core.VolumeArgs(name=name, persistent_volume_claim=source)


def _config(name: pulumi.Input[str]) -> core.VolumeArgs:
    return core.VolumeArgs(name="config", config_map=core.ConfigMapVolumeSourceArgs(name=name))
