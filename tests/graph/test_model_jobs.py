"""A model's Job: how often it is tried, how it ends, and what it leaves for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pulumi.runtime import mocks

from cli.graph import ROOT, evaluate
from components import model
from components.model import registry_port
from runtime.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from cli.graph import Graph

JOB = "kubernetes:batch/v1:Job"
MODELS = ["summarize", "extract"]


def _job(graph: Graph, name: str) -> dict[str, Any]:
    return graph.one(JOB, f"{name}-model").inputs


@pytest.mark.parametrize("name", MODELS)
def test_a_job_is_tried_again_but_not_for_ever(dev: Graph, name: str) -> None:
    """Four pods at most, evictions aside, and three hours, which a pod that finds no node spends too."""
    spec = _job(dev, name)["spec"]
    assert {key: spec[key] for key in spec.keys() - {"template"}} == {
        "backoffLimit": 3,
        "activeDeadlineSeconds": 10_800,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                }
            ]
        },
    }


def test_a_job_that_fails_does_so_by_a_reason_that_pulumi_knows(dev: Graph, local: Graph) -> None:
    """Its provider's await takes BackoffLimitExceeded and DeadlineExceeded, and waits on for any other one.

    So no rule may fail a Job, not for the exit code of a spec that would fail again either, and no Job is
    indexed, since those fail by reasons of their own.
    """
    for graph in (dev, local):
        for job in graph.of_type(JOB):
            spec = job.inputs["spec"]
            actions = {rule["action"] for rule in spec["podFailurePolicy"]["rules"]}
            assert actions <= {"Ignore", "Count"}
            assert spec.keys().isdisjoint({"completionMode", "backoffLimitPerIndex", "maxFailedIndexes"})


def test_a_job_ends_before_pulumi_stops_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """By ten minutes: one that is stuck fails with its own reason, and not by the wait's time-out."""
    waits: dict[str, str] = {}
    register: Any = mocks.MockMonitor.RegisterResource

    def record(monitor: mocks.MockMonitor, request: Any) -> Any:  # noqa: ANN401  a gRPC method
        if request.type == JOB:
            waits[request.name] = request.customTimeouts.create
        return register(monitor, request)

    monkeypatch.setattr(mocks.MockMonitor, "RegisterResource", record)
    graph = evaluate(ROOT / "Pulumi.dev.yaml")
    ends = {name: _job(graph, name)["spec"]["activeDeadlineSeconds"] for name in MODELS}
    assert waits == {f"{name}-model": f"{end + 600:.0f}s" for name, end in ends.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_failed_pod_stays_and_says_why(dev: Graph, name: str) -> None:
    """Its log is there until the Job is replaced, and the log's end is in its status, which Pulumi shows."""
    job = _job(dev, name)
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert [each["terminationMessagePolicy"] for each in pod["containers"]] == ["FallbackToLogsOnError"]
    # The next `pulumi up` makes it anew, whatever the reason was.
    assert job["metadata"]["annotations"] == {"pulumi.com/replaceUnready": "true"}


@pytest.mark.parametrize("name", MODELS)
def test_a_job_names_its_model_and_is_not_evicted(dev: Graph, name: str) -> None:
    """By the hash that its directory in the store has; the labels are those that policies select."""
    spec = ModelSpec.model_validate_json(
        dev.one("kubernetes:core/v1:ConfigMap", f"{name}-model").inputs["data"]["model.json"]
    )
    assert _job(dev, name)["spec"]["template"]["metadata"] == {
        "labels": {"app": "model", "model": name},
        "annotations": {
            "ollama-eks/model": spec.hash,
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        },
    }
    assert spec.directory.name == spec.hash


def test_a_job_is_new_with_any_part_of_its_spec(dev: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes refuses to change most of a Job that is there, so another one gets another name."""
    monkeypatch.setattr(model, "LONGEST_PULL_SECONDS", 60)
    after = evaluate(ROOT / "Pulumi.dev.yaml")
    names = [_job(graph, "summarize")["metadata"]["name"] for graph in (dev, after)]
    assert len({*names}) == 2
    assert {name.rpartition("-")[0] for name in names} == {names[0].rpartition("-")[0]}


@pytest.mark.parametrize(
    ("source", "port"),
    [
        pytest.param({"from": "llama3.2"}, 443, id="the library"),
        pytest.param({"from": "llama3.2:3b"}, 443, id="a tag is no port"),
        pytest.param({"from": "team/model:5000"}, 443, id="nor behind a namespace"),
        pytest.param({"from": "registry.internal/team/model:1"}, 443, id="another registry"),
        pytest.param({"from": "registry.internal:5000/team/model:1"}, 5000, id="its port"),
        pytest.param({"from": "https://registry.internal/team/model"}, 443, id="https said"),
        pytest.param({"from": "https://registry.internal:8443/team/model"}, 8443, id="https and a port"),
        pytest.param({"from": "http://registry.internal/team/model"}, 80, id="plain http"),
        pytest.param({"from": "http://registry.internal:5000/team/model"}, 5000, id="plain http and a port"),
        pytest.param({"modelfile": "FROM http://registry.internal:5000/team/m"}, 5000, id="a base"),
        pytest.param({"from": "registry.internal:5000/team/m", "quantize": "q8_0"}, 5000, id="made smaller"),
        pytest.param({"from": "s3://bucket/model.gguf"}, None, id="a file"),
        pytest.param({"modelfile": "FROM s3://bucket/model.gguf"}, None, id="a base of a file"),
    ],
)
def test_the_port_of_a_registry(source: dict[str, str], port: int | None) -> None:
    """It is what the name says, or its scheme means; files come from S3 alone."""
    assert registry_port(ModelSource.model_validate(source)) == port
