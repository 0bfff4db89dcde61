"""What the program promises a pod, and what the pod's code takes it at: both read from the graph."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import ROOT, evaluate
from components.problems import SettingsError
from components.settings import parse
from runtime.spec import METRICS_NAMESPACE, ModelSpec, Options, TaskSpec, server_environment
from runtime.worker.consumer import HANDS_PER_SLOT

if TYPE_CHECKING:
    from cli.graph import Graph

MODELS = ["summarize", "extract"]
PLACES = {"queue_url", "dead_letter_url", "documents_bucket", "results_bucket"}
MAX_PARALLEL = 64
"""What `parallel` of a model may be (`test_settings.py`)."""

ON_ALL = {
    # A metric is no resource; the right is kept to this project's.
    "cloudwatch:PutMetricData",
    # Nor can looking at groups, their instance types and their templates be kept to some of them.
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeScalingActivities",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeLaunchTemplateVersions",
}
"""Actions that know no resources (service authorization reference), and so are allowed on all."""

AWS = "arn:aws"
SQS = f"{AWS}:sqs:eu-central-1:123456789012"


def _pod(graph: Graph, name: str) -> dict[str, Any]:
    return graph.one("kubernetes:apps/v1:Deployment", name).inputs["spec"]["template"]["spec"]


def _server(graph: Graph, name: str) -> dict[str, Any]:
    (container,) = _pod(graph, name)["initContainers"]
    return container


def _worker(graph: Graph, name: str) -> dict[str, Any]:
    (container,) = _pod(graph, name)["containers"]
    return container


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def _mounts(container: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Volume, path and whether it is read-only."""
    return {
        mount["name"]: (mount["mountPath"], mount.get("readOnly", False))
        for mount in container["volumeMounts"]
    }


def _task(graph: Graph, name: str) -> TaskSpec:
    data = graph.one("kubernetes:core/v1:ConfigMap", name).inputs["data"]
    task = TaskSpec.model_validate_json(data["task.json"])
    assert ModelSpec.model_validate_json(data["model.json"]) == task.model
    return task


def _statements(graph: Graph, name: str) -> list[dict[str, Any]]:
    return json.loads(graph.one("aws:iam/rolePolicy:RolePolicy", name).inputs["policy"])["Statement"]


def test_a_worker_may_do_exactly_this(dev: Graph) -> None:
    """Its own documents in, its own results and records out, its own queue, nothing of another model's."""
    documents, results = f"{AWS}:s3:::documents-graph", f"{AWS}:s3:::results-graph"
    measuring = {"Condition": {"StringEquals": {"cloudwatch:namespace": "OllamaEks"}}}
    assert _statements(dev, "summarize") == [
        {"Effect": "Allow", "Action": actions, "Resource": resources, **(condition[0] if condition else {})}
        for actions, resources, *condition in (
            (["s3:GetObject", "s3:GetObjectVersion"], [f"{documents}/summarize/*"]),
            (["s3:GetObject"], [f"{results}/summarize/*", f"{results}/records/summarize/*"]),
            (
                ["s3:PutObject"],
                [f"{results}/summarize/*"],
                {"Condition": {"Null": {"s3:if-none-match": "false"}}},
            ),
            (["s3:PutObject"], [f"{results}/records/summarize/*"]),
            (["s3:ListBucket"], [documents, results]),
            (
                [
                    "sqs:ReceiveMessage",
                    "sqs:ChangeMessageVisibility",
                    "sqs:DeleteMessage",
                    "sqs:GetQueueAttributes",
                    "sqs:SendMessage",
                ],
                [f"{SQS}:summarize-graph"],
            ),
            (["sqs:SendMessage"], [f"{SQS}:summarize-dead-letter-graph"]),
            (["cloudwatch:PutMetricData"], ["*"], measuring),
            (["events:PutEvents"], [f"{AWS}:events:eu-central-1:123456789012:event-bus/default"]),
        )
    ]


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_only_what_knows_no_resources_is_allowed_on_all(stack: str, request: pytest.FixtureRequest) -> None:
    """No right has a wildcard action; on every resource there are metrics, of one namespace, and looking."""
    graph: Graph = request.getfixturevalue(stack)
    statements = [
        statement
        for policy in graph.of_type("aws:iam/rolePolicy:RolePolicy")
        for statement in _statements(graph, policy.name)
    ]
    assert [action for each in statements for action in each["Action"] if "*" in action] == []
    wide = [each for each in statements if each["Resource"] in ("*", ["*"])]
    assert {action for each in wide for action in each["Action"]} == ON_ALL
    conditions = [each["Condition"] for each in wide if "cloudwatch:PutMetricData" in each["Action"]]
    kept = {"StringEquals": {"cloudwatch:namespace": METRICS_NAMESPACE}}
    assert conditions == [kept] * len(graph.of_type("kubernetes:apps/v1:Deployment"))


def test_a_job_may_read_its_own_file_and_keda_may_count(dev: Graph, local: Graph) -> None:
    """A model from a registry has no role at all; KEDA sees the length of each queue and no message."""
    assert _statements(local, "summarize-model") == [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": [f"{AWS}:s3:::ollama-eks-local-models/tiny.gguf"],
        }
    ]
    assert _statements(dev, "keda") == [
        {
            "Effect": "Allow",
            "Action": ["sqs:GetQueueAttributes"],
            "Resource": [f"{SQS}:summarize-graph", f"{SQS}:extract-graph"],
        }
    ]
    assert {each.name for each in dev.of_type("aws:iam/rolePolicy:RolePolicy")} == {
        *MODELS,
        "keda",
        "addons-autoscaler",
        "network-flow-logs",
    }


@pytest.mark.parametrize("name", MODELS)
def test_aws_credentials_are_the_workers_alone(dev: Graph, name: str) -> None:
    """The server's variable is there and empty, so Pod Identity leaves it; the worker's is free to be set."""

    def of_aws(container: dict[str, Any]) -> dict[str, str]:
        return {key: value for key, value in _environment(container).items() if key.startswith("AWS_")}

    assert of_aws(_server(dev, name)) == {"AWS_CONTAINER_CREDENTIALS_FULL_URI": ""}
    assert of_aws(_worker(dev, name)) == {
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    assert _pod(dev, name)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", MODELS)
def test_ollama_is_reached_on_loopback_only(dev: Graph, name: str) -> None:
    """It knows no authentication: it binds to loopback, the worker asks it there, and no port is declared."""
    task, server = _task(dev, name), _server(dev, name)
    expected = server_environment(
        host="127.0.0.1:11434",
        models=str(task.model.directory),
        parallel=task.parallel,
        context_tokens=task.options.num_ctx,
    )
    environment = _environment(server)
    assert {key: environment[key] for key in environment if key.startswith("OLLAMA_")} == expected
    assert _environment(_worker(dev, name))["OLLAMA_HOST"] == expected["OLLAMA_HOST"]
    assert "ports" not in server


@pytest.mark.parametrize("name", MODELS)
def test_the_server_is_a_sidecar_whose_start_is_probed_from_within(dev: Graph, name: str) -> None:
    """The kubelet cannot reach loopback, so the probe is a command; it covers the wait for the model too."""
    server = _server(dev, name)
    assert server["restartPolicy"] == "Always"
    assert {key for key in server if key.endswith("Probe")} == {"startupProbe", "livenessProbe"}
    probe = server["startupProbe"]
    assert probe["exec"] == {"command": ["ollama", "ls"]}
    assert probe["periodSeconds"] * probe["failureThreshold"] > _task(dev, name).model.wait_seconds
    # The worker is not started before, and a document waits for it.
    assert probe["periodSeconds"] == 1


def test_a_server_has_its_models_settings() -> None:
    """What a model's `server` says is in its own server's environment, in no other's, nor in the Job's."""
    server = {
        "flashAttention": True,
        "kvCacheType": "q8_0",
        "loadTimeout": "1h",
        "gpuOverhead": 1000,
        "maxQueue": 9,
    }
    own = {"name": "own", "from": "tiny", "server": server, "parallel": 9, "options": {"num_ctx": 2048}}
    graph = evaluate(ROOT / "Pulumi.dev.yaml", {"models": [own, {"name": "other", "from": "tiny"}]})
    variables = {
        name: {
            key.removeprefix("OLLAMA_"): value
            for key, value in _environment(_server(graph, name)).items()
            if key.startswith("OLLAMA_") and key not in {"OLLAMA_HOST", "OLLAMA_MODELS"}
        }
        for name in ("own", "other")
    }
    fixed = {"KEEP_ALIVE": "-1", "MAX_LOADED_MODELS": "1", "NOPRUNE": "1", "NO_CLOUD": "1"}
    assert variables == {
        "own": {
            **fixed,
            "NUM_PARALLEL": "9",
            "LOAD_TIMEOUT": "3600s",
            "CONTEXT_LENGTH": "2048",
            "FLASH_ATTENTION": "1",
            "KV_CACHE_TYPE": "q8_0",
            "GPU_OVERHEAD": "1000",
            "MAX_QUEUE": "9",
        },
        "other": {**fixed, "NUM_PARALLEL": "1", "LOAD_TIMEOUT": "900s", "CONTEXT_LENGTH": "8192"},
    }
    # The model in the store is the same one, however it is served.
    jobs = [graph.one("kubernetes:batch/v1:Job", f"{name}-model").inputs for name in ("own", "other")]
    hashes = {job["metadata"]["name"].split("-")[-2] for job in jobs}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ({"kvCacheType": "q8_0"}, "server.kvCacheType: given"),
        ({"kvCachType": "q8_0"}, "server.kvCachType: is not a key; did you mean kvCacheType?"),
        ({"loadTimeout": 5}, "server.loadTimeout: given 5: must be a time such as 90s"),
        ({"maxQueue": 1}, "maxQueue is under parallel (2): the server would refuse documents"),
        ({"keepAlive": "5m"}, "server.keepAlive: is not a key"),
    ],
)
def test_wrong_server_settings_are_problems_of_the_config(server: dict[str, object], problem: str) -> None:
    """They are named as the stack file writes them, before any resource."""
    config = {"image": "i:1", "models": [{"name": "a", "from": "tiny", "parallel": 2, "server": server}]}
    with pytest.raises(SettingsError) as caught:
        parse(config)
    (said,) = caught.value.problems
    assert said.startswith("models[0].server")
    assert problem in said


@pytest.mark.parametrize("name", MODELS)
def test_a_server_lives_as_long_as_its_worker_says_so(dev: Graph, name: str) -> None:
    """The worker is asked for it, and has twice the time that its own probe gives it to answer.

    The worker starts when the server has: one that hangs in its start is itself started anew, and may
    still speak for its server in time. Its image is there by then: it is the server's own.
    """
    task, server, worker = _task(dev, name), _server(dev, name), _worker(dev, name)
    probes = {"server": (server, "/server", 6), "worker": (worker, "/live", 3)}
    for container, path, failures in probes.values():
        assert container["livenessProbe"] == {
            "httpGet": {"path": path, "port": task.health_port},
            "periodSeconds": 10,
            "failureThreshold": failures,
        }
    assert worker["readinessProbe"] == {
        "httpGet": {"path": "/ready", "port": task.health_port},
        "periodSeconds": 5,
    }
    assert server["image"] == worker["image"]


@pytest.mark.parametrize("name", MODELS)
def test_a_worker_writes_to_its_scratch_volume_alone(dev: Graph, name: str) -> None:
    """An emptyDir with a limit, mounted where TMPDIR says, by the worker and by nobody else of any pod."""
    volumes = {volume.pop("name"): volume for volume in (dict(each) for each in _pod(dev, name)["volumes"])}
    assert volumes.keys() == {"models", "config", "home", "scratch", "api-token"}
    assert volumes["scratch"] == {"emptyDir": {"sizeLimit": "16Gi"}}
    assert volumes["home"] == {"emptyDir": {}}
    worker, server = _worker(dev, name), _server(dev, name)
    assert _environment(worker)["TMPDIR"] == _mounts(worker)["scratch"][0] == "/scratch"
    assert "TMPDIR" not in _environment(server)
    job = dev.one("kubernetes:batch/v1:Job", f"{name}-model").inputs["spec"]["template"]["spec"]
    assert {volume["name"] for volume in job["volumes"]} == {"models", "config", "home"}


def test_the_scratch_volume_holds_what_a_worker_can_have_at_once(dev: Graph) -> None:
    """Files of the greatest size in every hand of a model with the most slots; beyond it, an eviction."""
    (scratch,) = (each["emptyDir"] for each in _pod(dev, "summarize")["volumes"] if each["name"] == "scratch")
    gibibytes = int(scratch["sizeLimit"].removesuffix("Gi"))
    assert HANDS_PER_SLOT * MAX_PARALLEL * _task(dev, "summarize").max_file_bytes <= gibibytes * 2**30


@pytest.mark.parametrize("name", MODELS)
def test_the_store_is_read_by_the_server_and_by_nobody_else(dev: Graph, name: str) -> None:
    """Read-only as a mount and as a claim; the worker has its config, its scratch volume and its token."""
    config = ("/etc/ollama-eks", True)
    assert _mounts(_server(dev, name)) == {
        "models": (_task(dev, name).model.store, True),
        "config": config,
        "home": ("/home/ollama", False),
    }
    assert _mounts(_worker(dev, name)) == {
        "config": config,
        "scratch": ("/scratch", False),
        "api-token": ("/var/run/secrets/kubernetes.io/serviceaccount", True),
    }
    claims = [volume.get("persistentVolumeClaim") for volume in _pod(dev, name)["volumes"]]
    assert [claim for claim in claims if claim] == [{"claimName": "models-read-graph", "readOnly": True}]


@pytest.mark.parametrize("name", MODELS)
def test_limits_are_the_same_on_both_sides(dev: Graph, name: str) -> None:
    """What the worker reckons with is what the pod, the queue and the probes are set to."""
    task, worker = _task(dev, name), _worker(dev, name)
    assert _pod(dev, name)["terminationGracePeriodSeconds"] == task.grace_seconds
    assert task.grace_seconds > task.time_limit_seconds
    queue = dev.one("aws:sqs/queue:Queue", name)
    assert queue.inputs["visibilityTimeoutSeconds"] == task.visibility_seconds
    ports = {probe: worker[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")}
    assert ports == {"readinessProbe": task.health_port, "livenessProbe": task.health_port}
    assert [port["containerPort"] for port in worker["ports"]] == [task.health_port]


@pytest.mark.parametrize(("capacity", "grace_seconds"), [("on-demand", (660, 360)), ("spot", (100, 100))])
def test_pods_on_spot_are_told_how_little_time_they_have(
    capacity: str, grace_seconds: tuple[int, int]
) -> None:
    """The kubelet kills them before their node goes, and the worker reckons with the same second."""
    graph = evaluate(ROOT / "Pulumi.dev.yaml", {"capacityType": capacity})
    assert tuple(_task(graph, name).grace_seconds for name in MODELS) == grace_seconds
    assert tuple(_pod(graph, name)["terminationGracePeriodSeconds"] for name in MODELS) == grace_seconds
    assert [_task(graph, name).time_limit_seconds for name in MODELS] == [600, 300]
    assert graph.one("aws:eks/nodeGroup:NodeGroup", "nodes-g6-2xlarge").inputs["capacityType"] == (
        capacity.upper().replace("-", "_")
    )


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_any_dead_letter_has_room_for_its_reason(stack: str, request: pytest.FixtureRequest) -> None:
    """A message that a queue took fits among the dead letters with more beside it: 256 KiB, and 1 MiB."""
    graph: Graph = request.getfixturevalue(stack)
    sizes = {each.name: each.inputs.get("maxMessageSize") for each in graph.of_type("aws:sqs/queue:Queue")}
    names = [each.name for each in graph.of_type("kubernetes:apps/v1:Deployment")]
    assert sizes == {
        **dict.fromkeys(names, 256 * 1024),
        **{f"{name}-dead-letter": 1024 * 1024 for name in names},
        # EventBridge's own, which fit any queue.
        **{f"{name}-undelivered": None for name in names},
    }


def test_a_task_says_how_it_is_run(dev: Graph, local: Graph) -> None:
    """Its GPUs are the server's own, and as many pods may share its queue as KEDA starts."""
    for graph, name, gpus, max_instances in (
        (dev, "summarize", 1, 2),
        (dev, "extract", 1, 2),
        (local, "summarize", 0, 1),
    ):
        task, limits = _task(graph, name), _server(graph, name)["resources"]["limits"]
        assert (task.gpus, task.max_instances) == (gpus, max_instances)
        assert int(limits.get("nvidia.com/gpu", 0)) == gpus
        scaled = graph.one("kubernetes:keda.sh/v1alpha1:ScaledObject", name)
        assert scaled.inputs["spec"]["maxReplicaCount"] == max_instances


def test_a_task_is_asked_what_its_config_says() -> None:
    """Every key of a model's question, and nothing of a neighbour's, is in the spec that its worker reads."""
    schema = {
        "type": "object",
        "properties": {"b": {"const": None}, "a": {"$ref": "#/$defs/a"}},
        "$defs": {"a": {}},
    }
    asked = {
        "name": "asked",
        "from": "tiny",
        "prompt": "{{ inputs.question }}",
        "system": "Be brief.",
        "options": {"num_ctx": 4096, "temperature": 0, "seed": 7},
        "think": False,
        "output": {"schema": schema},
        "longDocuments": "split",
        "accepts": ["application/pdf", "image/png"],
        "timeLimit": "90s",
        "attempts": 5,
        "parallel": 2,
        "maxInstances": 0,
    }
    embedding = {"name": "vectors", "from": "tiny", "task": "embed", "think": "low"}
    graph = evaluate(ROOT / "Pulumi.dev.yaml", {"models": [asked, embedding]})
    task = _task(graph, "asked")
    assert task.model_dump(include=task.model_fields_set - PLACES, exclude={"model"}) == {
        "name": "asked",
        "prompt": "{{ inputs.question }}",
        "system": "Be brief.",
        "options": Options(num_ctx=4096, temperature=0, seed=7).model_dump(),
        "think": False,
        "output_schema": schema,
        "task": "generate",
        "long_documents": "split",
        "accepts": ("application/pdf", "image/png"),
        "gpus": 1,
        "parallel": 2,
        "time_limit_seconds": 90,
        "attempts": 5,
        "retry_seconds": 21_600,
        "max_instances": 0,
        "visibility_seconds": 300,
        "poll_seconds": 1,
        "grace_seconds": 150,
        "max_text_bytes": 16 * 1024 * 1024,
        "max_file_bytes": 64 * 1024 * 1024,
        "health_port": 8080,
    }
    vectors = _task(graph, "vectors")
    assert (vectors.task, vectors.think, vectors.output_schema) == ("embed", "low", None)
    assert (vectors.prompt, vectors.system, vectors.long_documents) == ("", "", "refuse")


@pytest.mark.parametrize("name", MODELS)
def test_a_task_names_the_graphs_own_places(dev: Graph, name: str) -> None:
    """Queues and buckets of the spec are those that the program makes, and documents come from its prefix."""
    task = _task(dev, name)
    assert (task.name, task.queue_url, task.dead_letter_url, task.documents_bucket, task.results_bucket) == (
        name,
        dev.one("aws:sqs/queue:Queue", name).outputs["url"],
        dev.one("aws:sqs/queue:Queue", f"{name}-dead-letter").outputs["url"],
        dev.one("aws:s3/bucket:Bucket", "documents").outputs["bucket"],
        dev.one("aws:s3/bucket:Bucket", "results").outputs["bucket"],
    )
    pattern = json.loads(dev.one("aws:cloudwatch/eventRule:EventRule", name).inputs["eventPattern"])
    assert pattern == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {
            "bucket": {"name": [task.documents_bucket]},
            "object": {"key": [{"prefix": f"{name}/"}]},
        },
    }


@pytest.mark.parametrize("name", MODELS)
def test_every_command_is_one_of_the_packages(dev: Graph, name: str) -> None:
    """A container starts a console script that exists, on a file that its ConfigMap holds."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    job = dev.one("kubernetes:batch/v1:Job", f"{name}-model").inputs["spec"]["template"]["spec"]
    commands = [each["command"] for each in (*job["containers"], _server(dev, name), _worker(dev, name))]
    assert commands == [
        ["ollama-eks-provision", "/etc/ollama-eks/model.json"],
        ["ollama-eks-serve", "/etc/ollama-eks/model.json"],
        ["ollama-eks-work", "/etc/ollama-eks/task.json"],
    ]
    assert {command[0] for command in commands} == scripts.keys() - {"ollama-eks"}
    files = dev.one("kubernetes:core/v1:ConfigMap", name).inputs["data"].keys()
    assert files == {"model.json", "task.json"}


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_every_pod_is_what_the_restricted_standard_asks_for(
    stack: str, request: pytest.FixtureRequest
) -> None:
    """Both namespaces enforce it, so a pod that asks for more would never start."""
    graph: Graph = request.getfixturevalue(stack)
    for workload in (
        *graph.of_type("kubernetes:apps/v1:Deployment"),
        *graph.of_type("kubernetes:batch/v1:Job"),
    ):
        pod = workload.inputs["spec"]["template"]["spec"]
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
