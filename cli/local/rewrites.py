"""Everything in which a local run differs from what the graph says, in one place. Pure.

    mount paths                     -> folders of the run
    OLLAMA_HOST, the health port    -> free ports
    AWS endpoint, region and keys   -> the emulator's, for the worker and the Job, never for the server
    queue URLs                      -> the emulator's
    HOME where the pod sets none    -> a folder of the run, so that this machine's AWS profile stays out

Bucket names are those of the graph: the emulator makes the buckets under them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.computed import REGION
from cli.local.emulator import CREDENTIALS
from runtime.spec import ModelSpec, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OMITTED = (
    "resource requests and limits",
    "security contexts",
    "node selectors and tolerations",
    "probes' periods",
    "the pod's name, and its token for the Kubernetes API",
)
"""What a pod of the graph says and a process on this machine is not given."""


@dataclass(frozen=True, slots=True)
class Command:
    """A container as a process.

    Attributes:
        name: the container's name.
        argv: its command line.
        env: its whole environment, but for PATH.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """What stands for a pod's surroundings.

    Attributes:
        store: the folder that stands for the model store.
        folder: a folder of the pod's own.
        ollama_port: where its server listens.
        health_port: where its worker answers.
        endpoint: the AWS emulator.
        queues: for each queue URL of the graph the emulator's own.
    """

    store: Path
    folder: Path
    ollama_port: int
    health_port: int
    endpoint: str
    queues: Mapping[str, str]


def folders(pod: Mapping[str, Any], place: Place) -> dict[str, Path]:
    """For each volume of a pod spec the folder that stands for it."""
    return {
        volume["name"]: place.store if "persistentVolumeClaim" in volume else place.folder / volume["name"]
        for volume in pod["volumes"]
    }


def command(container: Mapping[str, Any], pod: Mapping[str, Any], place: Place) -> Command:
    """A container of a pod spec as a process of this machine."""
    by_volume = folders(pod, place)
    mounts = {mount["mountPath"]: by_volume[mount["name"]] for mount in container["volumeMounts"]}
    env = {entry["name"]: moved(entry["value"], mounts) for entry in container["env"] if "value" in entry}
    env["OLLAMA_HOST"] = f"127.0.0.1:{place.ollama_port}"
    env.setdefault("HOME", str(place.folder / f"{container['name']}-home"))
    # The server is the container that is kept from the pod's AWS rights, there as here.
    if "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in env:
        env |= {"AWS_ENDPOINT_URL": place.endpoint, "AWS_DEFAULT_REGION": REGION, **CREDENTIALS}
    return Command(container["name"], tuple(moved(part, mounts) for part in container["command"]), env)


def moved(text: str, mounts: Mapping[str, Path]) -> str:
    """A path below a mount, as the path below the folder that stands for it; anything else as it is."""
    for mount, folder in mounts.items():
        if text == mount or text.startswith(f"{mount}/"):
            return f"{folder}{text.removeprefix(mount)}"
    return text


def model_spec(text: str, place: Place) -> str:
    """A `model.json` for this machine."""
    return ModelSpec.model_validate_json(text).model_copy(update={"store": str(place.store)}).to_json()


def task_spec(text: str, place: Place) -> str:
    """A `task.json` for this machine."""
    task = TaskSpec.model_validate_json(text)
    return task.model_copy(
        update={
            "model": task.model.model_copy(update={"store": str(place.store)}),
            "queue_url": place.queues[task.queue_url],
            "dead_letter_url": place.queues[task.dead_letter_url],
            "health_port": place.health_port,
        }
    ).to_json()


SPECS = {"model.json": model_spec, "task.json": task_spec}
"""How each file of a ConfigMap is rewritten; a file without a row here is an error."""
