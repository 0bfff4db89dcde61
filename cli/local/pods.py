"""The pods of one model, as the graph has them, run by hand: first the Job, then server and worker."""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.graph import GraphError
from cli.local import rewrites
from cli.local.errors import LocalError
from cli.local.processes import Process, passes
from cli.local.rewrites import Place
from runtime.spec import TaskSpec

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from cli.graph import Graph, Resource
    from cli.local.emulator import Emulator


@dataclass(frozen=True, slots=True)
class Host:
    """What all pods of a run share.

    Attributes:
        graph: the program's graph.
        emulator: AWS.
        store: the folder that stands for the model store; it outlives the run.
        folder: the run's own folder.
        ollama: the server's binary.
    """

    graph: Graph
    emulator: Emulator
    store: Path
    folder: Path
    ollama: Path

    def place(self, pod: str) -> Place:
        """Surroundings for a pod."""
        return Place(
            store=self.store,
            folder=self.folder / "pods" / pod,
            ollama_port=_free_port(),
            health_port=_free_port(),
            endpoint=self.emulator.endpoint,
            queues=self.emulator.places,
        )

    def process(self, container: Mapping[str, Any], pod: Mapping[str, Any], place: Place) -> Process:
        """A container, not started yet."""
        command = rewrites.command(container, pod, place)
        return Process(command, place.folder / f"{command.name}.log", self.ollama)


def models(graph: Graph) -> dict[str, tuple[Resource, Resource]]:
    """For each model its Job and its Deployment; a model that follows another comes after it."""
    jobs = {_labels(job)["model"]: job for job in graph.of_type("kubernetes:batch/v1:Job")}
    services = {_labels(made)["model"]: made for made in graph.of_type("kubernetes:apps/v1:Deployment")}
    names = sorted(services, key=lambda name: _follows(graph, name))
    return {name: (jobs[name], services[name]) for name in names}


def _follows(graph: Graph, model: str) -> int:
    """How many models are before this one in its chain."""
    config = graph.one("kubernetes:core/v1:ConfigMap", model)
    after = TaskSpec.model_validate_json(config.inputs["data"]["task.json"]).after
    return 0 if after is None else 1 + _follows(graph, after)


def ready(host: Host, job: Resource) -> None:
    """Runs a model's Job to its end.

    Raises:
        LocalError: it failed; the message is the Job's own.
    """
    pod = job.inputs["spec"]["template"]["spec"]
    place = host.place(job.name)
    _make_volumes(host, job, place)
    # Pods have names of their own, runs on one machine do not: one at a time fills the store.
    with (host.store / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _run(host, pod, place)


def _run(host: Host, pod: Mapping[str, Any], place: Place) -> None:
    for container in pod["containers"]:
        process = host.process(container, pod, place)
        try:
            process.start()
            process.run_to_end()
        finally:
            process.stop(pod.get("terminationGracePeriodSeconds", 30))
        if process.exit_code:
            sentence = _error_line(process.log) or process.last_words(
                f"its Job ended with {process.exit_code}"
            )
            raise LocalError(f"the model is not ready: {sentence}")


@contextlib.contextmanager
def served(host: Host, service: Resource) -> Generator[tuple[TaskSpec, list[Process]]]:
    """Runs a model's pod until the block ends; yields its task and its processes.

    In the pod's order: each sidecar up to its start-up probe, then the main containers; back the same way.

    Raises:
        LocalError: a container does not come up.
    """
    pod = service.inputs["spec"]["template"]["spec"]
    place = host.place(service.name)
    _make_volumes(host, service, place)
    task = TaskSpec.model_validate_json((place.folder / "config" / "task.json").read_text())
    with contextlib.ExitStack() as running:
        started: list[Process] = []
        for container in [*pod["initContainers"], *pod["containers"]]:
            process = host.process(container, pod, place)
            grace = pod["terminationGracePeriodSeconds"]
            running.callback(process.stop, grace)
            started.append(process.start())
            if probe := container.get("startupProbe"):
                argv = tuple(probe["exec"]["command"])
                process.wait(
                    lambda argv=argv, process=process, probe=probe: passes(
                        argv, process.env, probe["timeoutSeconds"]
                    ),
                    probe["periodSeconds"] * probe["failureThreshold"],
                    "ready by its start-up probe",
                )
        yield task, started


def _make_volumes(host: Host, workload: Resource, place: Place) -> None:
    """Makes the pod's own folders, and in one of them its ConfigMap, rewritten for this machine."""
    pod = workload.inputs["spec"]["template"]["spec"]
    for volume in pod["volumes"]:
        folder = rewrites.folders(pod, place)[volume["name"]]
        folder.mkdir(parents=True, exist_ok=True)
        if "configMap" not in volume:
            continue
        wanted = (workload.inputs["metadata"]["namespace"], volume["configMap"]["name"])
        found = [
            made
            for made in host.graph.of_type("kubernetes:core/v1:ConfigMap")
            if (made.inputs["metadata"]["namespace"], made.outputs["metadata"]["name"]) == wanted
        ]
        if len(found) != 1:
            raise GraphError(
                f"{workload.name} mounts a ConfigMap {'/'.join(wanted)} that is not in the graph"
            )
        for name, text in found[0].inputs["data"].items():
            (folder / name).write_text(rewrites.SPECS[name](text, place))


def _labels(workload: Resource) -> dict[str, str]:
    return workload.inputs["spec"]["template"]["metadata"]["labels"]


def _error_line(log: Path) -> str:
    """The last error that a command of ours logged, empty if there is none."""
    for line in reversed(log.read_text(errors="replace").splitlines()):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entry: Any = json.loads(line)
            if entry["level"] == "error":
                return str(entry["event"])
    return ""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
