"""A local run differs from the graph in what the module says, and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.graph import ROOT, Graph, evaluate
from cli.local import rewrites
from cli.local.rewrites import Place
from runtime.spec import ModelSpec, TaskSpec

STORE = Path("/run/store")
FOLDER = Path("/run/pod")
ENDPOINT = "http://127.0.0.1:5000"
QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/summarize-graph"
DEAD_LETTER = "https://sqs.eu-central-1.amazonaws.com/123456789012/summarize-dead-letter-graph"

PLACE = Place(
    store=STORE,
    folder=FOLDER,
    ollama_port=5001,
    health_port=5002,
    endpoint=ENDPOINT,
    queues={QUEUE: f"{ENDPOINT}/queue", DEAD_LETTER: f"{ENDPOINT}/dead-letter"},
)

Changes = dict[str, tuple[Any, Any]]


@pytest.fixture(scope="module")
def local() -> Graph:
    """The graph that a local run executes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_ERROR_OUTPUT_STRING", "true")
        return evaluate(ROOT / "Pulumi.local.yaml")


def _pod(graph: Graph, workload: str) -> dict[str, Any]:
    return graph.of_type(workload)[0].inputs["spec"]["template"]["spec"]


def _configs(graph: Graph) -> dict[str, str]:
    """Every file of every ConfigMap; those of one name say the same."""
    configs = graph.of_type("kubernetes:core/v1:ConfigMap")
    return {name: text for config in configs for name, text in config.inputs["data"].items()}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> Changes:
    """What changed: the value before and after, None where there was none."""
    return {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }


HOST: Changes = {"OLLAMA_HOST": ("127.0.0.1:11434", "127.0.0.1:5001")}
AWS: Changes = {
    "AWS_ENDPOINT_URL": (None, ENDPOINT),
    "AWS_ACCESS_KEY_ID": (None, "local"),
    "AWS_SECRET_ACCESS_KEY": (None, "local"),
}


@pytest.mark.parametrize(
    ("workload", "kind", "argv", "changes"),
    [
        (
            "kubernetes:batch/v1:Job",
            "containers",
            ("ollama-eks-provision", "/run/pod/config/model.json"),
            {**HOST, **AWS, "HOME": ("/home/ollama", "/run/pod/home")},
        ),
        (
            "kubernetes:apps/v1:Deployment",
            "containers",
            ("ollama-eks-work", "/run/pod/config/task.json"),
            {
                **HOST,
                **AWS,
                "HOME": (None, "/run/pod/worker-home"),
                "TMPDIR": ("/scratch", "/run/pod/scratch"),
            },
        ),
        (
            "kubernetes:apps/v1:Deployment",
            "initContainers",
            ("ollama-eks-serve", "/run/pod/config/model.json"),
            {**HOST, "HOME": ("/home/ollama", "/run/pod/home"), "OLLAMA_MODELS": ("/models/", "/run/store/")},
        ),
    ],
    ids=["provision", "worker", "server"],
)
def test_a_container_differs_in_ports_paths_and_aws_only(
    local: Graph, workload: str, kind: str, argv: tuple[str, ...], changes: Changes
) -> None:
    """Command and environment are the graph's own but for these; the server gets no AWS key."""
    pod = _pod(local, workload)
    (container,) = pod[kind]
    command = rewrites.command(container, pod, PLACE)
    model = ModelSpec.model_validate_json(_configs(local)["model.json"])
    expected = {
        name: (f"{old}{model.hash}", f"{new}{model.hash}") if name == "OLLAMA_MODELS" else (old, new)
        for name, (old, new) in changes.items()
    }
    # What a pod says of itself is left out: no process of this machine is a pod.
    given = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    assert _difference(given, dict(command.env)) == expected
    assert (command.name, command.argv) == (container["name"], argv)


def test_every_volume_is_a_folder(local: Graph) -> None:
    """The claim on the models is the store that outlives the run, all else lies in the pod's folder."""
    job = {"models": STORE, "config": FOLDER / "config", "home": FOLDER / "home"}
    assert rewrites.folders(_pod(local, "kubernetes:batch/v1:Job"), PLACE) == job
    service = {**job, "scratch": FOLDER / "scratch", "api-token": FOLDER / "api-token"}
    assert rewrites.folders(_pod(local, "kubernetes:apps/v1:Deployment"), PLACE) == service


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("/models", "/run/store"),
        ("/models/a/b", "/run/store/a/b"),
        ("/models2", "/models2"),
        ("/models2/a", "/models2/a"),
        ("models/a", "models/a"),
        ("a /models/b", "a /models/b"),
        ("/etc/ollama-eks/task.json", "/run/pod/config/task.json"),
        ("/etc/ollama", "/etc/ollama"),
        ("", ""),
    ],
)
def test_only_paths_below_a_mount_are_moved(text: str, moved: str) -> None:
    """A path is cut at its parts, so a mount's name as the beginning of another one is no mount."""
    mounts = {"/models": STORE, "/etc/ollama-eks": FOLDER / "config"}
    assert rewrites.moved(text, mounts) == moved


def test_a_model_lies_in_the_local_store(local: Graph) -> None:
    """A rewritten `model.json` says another store, and by its hash it is the same model."""
    text = _configs(local)["model.json"]
    before = ModelSpec.model_validate_json(text)
    after = ModelSpec.model_validate_json(rewrites.model_spec(text, PLACE))
    assert _difference(before.model_dump(), after.model_dump()) == {"store": ("/models", str(STORE))}
    assert after.hash == before.hash


def test_a_task_has_local_queues_and_ports(local: Graph) -> None:
    """A rewritten `task.json` says other queues, store and health port; by its hash it is the same task."""
    text = _configs(local)["task.json"]
    before = TaskSpec.model_validate_json(text)
    after = TaskSpec.model_validate_json(rewrites.task_spec(text, PLACE))
    assert _difference(dict(before), dict(after)) == {
        "model": (before.model, before.model.model_copy(update={"store": str(STORE)})),
        "queue_url": (QUEUE, f"{ENDPOINT}/queue"),
        "dead_letter_url": (DEAD_LETTER, f"{ENDPOINT}/dead-letter"),
        "health_port": (8080, 5002),
    }
    assert after.hash == before.hash


def test_every_file_of_a_config_map_has_its_rewrite(local: Graph) -> None:
    """A file that the program adds has to be thought of here before a local run takes it."""
    assert _configs(local).keys() == rewrites.SPECS.keys() == {"model.json", "task.json"}
