"""One document, from the bucket to its answer and back to no pods, through everything that can be real here.

KEDA and Kubernetes decide that there is a pod and where. This test is its kubelet: it starts the containers
of the pod that the API server admitted, as processes of this machine, and ends them when that pod has to go.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from cli import tiny_model, toolchain
from cli.graph import ROOT, evaluate
from cli.local import emulator, outcomes, pods
from cli.local.run import TINY_MODEL
from runtime.spec import TaskSpec
from tests.cluster.cluster import running
from tests.cluster.queues import operator_environment
from tests.cluster.stack import Stack
from tests.cluster.stacks import COOLDOWN_SECONDS, POLL_SECONDS, QUICK

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from cli.graph import Graph

MODEL = "summarize"
DOCUMENT = ROOT / "examples" / "documents" / "letter.txt"
EMPTY_SECONDS = COOLDOWN_SECONDS + 2 * POLL_SECONDS + 5


@dataclass
class Timeline:
    """What happened when, in seconds since the first thing did."""

    phases: dict[str, float] = field(default_factory=dict)

    def reached(self, phase: str, when: float | None = None) -> None:
        """Notes that a phase was reached, now or at a time of time.monotonic()."""
        self.phases[phase] = time.monotonic() if when is None else when

    def __str__(self) -> str:
        """A line for each phase: when it was reached, and how long after the one before."""
        begin = before = min(self.phases.values())
        lines: list[str] = []
        for phase, when in sorted(self.phases.items(), key=lambda each: each[1]):
            lines.append(f"  {when - begin:7.2f} s  +{when - before:6.2f}  {phase}")
            before = when
        return "\n".join(lines)


@dataclass(frozen=True)
class Emulated:
    """The emulator's queues, for a stack."""

    aws: emulator.Emulator

    def places(self, _graph: Graph) -> Mapping[str, str]:
        """For each queue URL of the graph the emulator's own."""
        return self.aws.places


@pytest.fixture
def graph() -> Graph:
    """The stack of the local run, scaled within seconds."""
    return evaluate(ROOT / "Pulumi.local.yaml", {"scaling": QUICK})


@pytest.fixture
def aws(graph: Graph, tmp_path: Path) -> Generator[emulator.Emulator]:
    """AWS with the graph's buckets, rules and queues, and the model's file in a bucket of the user's."""
    made = emulator.start(graph)
    try:
        model = tmp_path / "tiny.gguf"
        tiny_model.write(model)
        bucket, _, key = TINY_MODEL.removeprefix("s3://").partition("/")
        made.s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": emulator.REGION}
        )
        made.s3.put_object(Bucket=bucket, Key=key, Body=model.read_bytes())
        yield made
    finally:
        made.stop()


@pytest.fixture
def host(graph: Graph, aws: emulator.Emulator, tmp_path: Path) -> pods.Host:
    """What this machine's processes get for a pod's surroundings."""
    ollama = tmp_path / "bin" / "ollama"
    ollama.parent.mkdir()
    ollama.symlink_to(toolchain.local_ollama())
    store = tmp_path / "store"
    store.mkdir()
    return pods.Host(graph=graph, emulator=aws, store=store, folder=tmp_path / "run", ollama=ollama)


@pytest.fixture
def stack(aws: emulator.Emulator, programs: Mapping[str, Path], tmp_path: Path) -> Generator[Stack]:
    """A cluster whose KEDA watches the emulator's queues."""
    with running(programs, tmp_path / "cluster", operator_environment(aws.endpoint)) as cluster:
        made = Stack(cluster, Emulated(aws))
        try:
            yield made
        finally:
            made.close()


def test_a_document_wakes_a_pod_which_answers_it_and_goes(
    graph: Graph,
    aws: emulator.Emulator,
    host: pods.Host,
    stack: Stack,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From no pods to one and back: one result, nothing left in the queue, no process left behind."""
    job, service = pods.models(graph)[MODEL]
    config = graph.one("kubernetes:core/v1:ConfigMap", MODEL)
    task = TaskSpec.model_validate_json(config.inputs["data"]["task.json"])
    pods.ready(host, job)
    stack.up(graph)
    assert stack.pods.ever(MODEL) == []

    time_line = Timeline()
    with contextlib.ExitStack() as kubelet:
        outcomes.upload(aws.s3, task, DOCUMENT.parent, [DOCUMENT])
        time_line.reached("the document is in the bucket")
        stack.pods.wait_for("a pod on a node", lambda: [pod for pod in stack.pods.of(MODEL) if pod.node], 20)
        (pod,) = stack.pods.of(MODEL)
        time_line.reached("a pod is there", pod.created)
        time_line.reached("it has a node")
        admitted = dataclasses.replace(
            service, inputs={**service.inputs, "spec": {"template": {"spec": pod.object["spec"]}}}
        )
        _, processes = kubelet.enter_context(pods.served(host, admitted))
        time_line.reached("its server has passed the start-up probe, its worker is started")

        (outcome,) = outcomes.collect(aws.s3, task, 1, lambda: None)
        time_line.reached("the answer is in the bucket")
        assert outcome.record.outcome == "answered"
        assert outcome.answer
        stack.pods.wait_for("the pod is told to go", lambda: pod.left is not None, EMPTY_SECONDS)
        time_line.reached("the pod is told to go", pod.left)
        assert [process.exit_code for process in processes] == [None, None]
    time_line.reached("its containers have ended")
    stack.pods.wait_for("no pod", lambda: not stack.pods.of(MODEL), 10)

    assert {process.name: process.exit_code for process in processes} == {"server": 0, "worker": 0}
    results = aws.s3.list_objects_v2(Bucket=task.results_bucket, Prefix=f"{MODEL}/")
    assert results["KeyCount"] == 1
    assert [_messages(aws, url) for url in (task.queue_url, task.dead_letter_url)] == [(0, 0), (0, 0)]
    assert stack.pods.peak(MODEL) == 1
    with capsys.disabled():
        print(f"\n{time_line}")  # noqa: T201  for whoever runs it


def _messages(aws: emulator.Emulator, url: str) -> tuple[int, int]:
    """Messages of a queue of the graph: waiting, in hand."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = aws.client("sqs").get_queue_attributes(QueueUrl=aws.places[url], AttributeNames=names)
    waiting, in_hand = (int(found["Attributes"][name]) for name in names)
    return waiting, in_hand
