"""The whole program: what it makes, what an edit changes, and what it refuses."""

from __future__ import annotations

import functools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pulumi.runtime import mocks

from cli.computed import COMPUTED, INVOKES
from cli.graph import ROOT, Graph, GraphError, Resource, evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator

DEV = ROOT / "Pulumi.dev.yaml"
IMAGE = (
    "must be build, or a reference with a tag other than latest, or a digest, "
    "such as registry.example.com/ollama-eks:0.1.0"
)
LABEL = "must be a DNS label of at most 40 characters: a-z, 0-9 and -, starting with a letter"
MODELS: list[dict[str, Any]] = yaml.safe_load(DEV.read_text())["config"]["ollama-eks:models"]

SHARED = Counter(
    {
        "aws:autoscaling/tag:Tag": 6,
        "aws:cloudwatch/dashboard:Dashboard": 1,
        "aws:cloudwatch/logGroup:LogGroup": 2,
        "aws:cloudwatch/metricAlarm:MetricAlarm": 2,
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": 1,
        "aws:ec2/eip:Eip": 1,
        "aws:ec2/flowLog:FlowLog": 1,
        "aws:ec2/internetGateway:InternetGateway": 1,
        "aws:ec2/launchTemplate:LaunchTemplate": 2,
        "aws:ec2/natGateway:NatGateway": 1,
        "aws:ec2/route:Route": 3,
        "aws:ec2/routeTable:RouteTable": 3,
        "aws:ec2/routeTableAssociation:RouteTableAssociation": 3,
        "aws:ec2/securityGroup:SecurityGroup": 1,
        "aws:ec2/subnet:Subnet": 3,
        "aws:ec2/vpc:Vpc": 1,
        "aws:ec2/vpcEndpoint:VpcEndpoint": 1,
        "aws:efs/accessPoint:AccessPoint": 2,
        "aws:efs/fileSystem:FileSystem": 1,
        "aws:efs/fileSystemPolicy:FileSystemPolicy": 1,
        "aws:efs/mountTarget:MountTarget": 2,
        "aws:eks/addon:Addon": 5,
        "aws:eks/nodeGroup:NodeGroup": 2,
        "aws:eks/podIdentityAssociation:PodIdentityAssociation": 4,
        "aws:iam/role:Role": 6,
        "aws:iam/rolePolicy:RolePolicy": 3,
        "aws:iam/policy:Policy": 2,
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": 4,
        "aws:s3/bucket:Bucket": 2,
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": 2,
        "aws:s3/bucketNotification:BucketNotification": 2,
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls": 2,
        "aws:s3/bucketPolicy:BucketPolicy": 2,
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": 2,
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": 2,
        "aws:s3/bucketVersioning:BucketVersioning": 2,
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": 1,
        "eks:index:Cluster": 1,
        "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy": 1,
        "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding": 1,
        "kubernetes:batch/v1:CronJob": 1,
        "kubernetes:core/v1:Namespace": 3,
        "kubernetes:core/v1:PersistentVolume": 2,
        "kubernetes:core/v1:PersistentVolumeClaim": 2,
        "kubernetes:core/v1:ServiceAccount": 1,
        "kubernetes:helm.sh/v3:Release": 2,
        "kubernetes:keda.sh/v1alpha1:ClusterTriggerAuthentication": 1,
        "kubernetes:networking.k8s.io/v1:NetworkPolicy": 7,
        "kubernetes:rbac.authorization.k8s.io/v1:Role": 3,
        "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": 3,
        "kubernetes:scheduling.k8s.io/v1:PriorityClass": 1,
        "ollama-eks:index:AccessPolicies": 1,
        "ollama-eks:index:Addons": 1,
        "ollama-eks:index:Cluster": 1,
        "ollama-eks:index:Collector": 1,
        "ollama-eks:index:ClusterAutoscaler": 1,
        "ollama-eks:index:Documents": 1,
        "ollama-eks:index:Encryption": 1,
        "ollama-eks:index:FlowLogs": 1,
        "ollama-eks:index:Image": 1,
        "ollama-eks:index:Keda": 1,
        "ollama-eks:index:ModelStore": 1,
        "ollama-eks:index:Namespaces": 1,
        "ollama-eks:index:NatGateways": 1,
        "ollama-eks:index:Network": 1,
        "ollama-eks:index:NodeAddons": 1,
        "ollama-eks:index:Nodes": 1,
        "ollama-eks:index:PodIdentity": 4,
        "ollama-eks:index:PodRules": 1,
        "ollama-eks:index:VpcEndpoints": 1,
        "ollama-eks:index:Watch": 1,
        "pulumi:providers:kubernetes": 1,
    }
)

PER_MODEL = Counter(
    {
        "aws:cloudwatch/eventRule:EventRule": 1,
        "aws:cloudwatch/eventTarget:EventTarget": 1,
        "aws:eks/podIdentityAssociation:PodIdentityAssociation": 1,
        "aws:iam/role:Role": 1,
        "aws:iam/rolePolicy:RolePolicy": 1,
        "aws:cloudwatch/metricAlarm:MetricAlarm": 4,
        "aws:sqs/queue:Queue": 3,
        "aws:sqs/queuePolicy:QueuePolicy": 3,
        "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": 1,
        "kubernetes:apps/v1:Deployment": 1,
        "kubernetes:batch/v1:Job": 1,
        "kubernetes:core/v1:ConfigMap": 2,
        "kubernetes:core/v1:ServiceAccount": 2,
        "kubernetes:keda.sh/v1alpha1:ScaledObject": 1,
        "ollama-eks:index:Model": 1,
        "ollama-eks:index:ModelQueue": 1,
        "ollama-eks:index:PodIdentity": 1,
        "ollama-eks:index:Service": 1,
    }
)


def _types(resources: list[Resource]) -> Counter[str]:
    return Counter(resource.type for resource in resources)


def _label(resource: Resource) -> str:
    """Type and name, such as `Job summarize-model`."""
    return f"{resource.type.rpartition(':')[2]} {resource.name}"


def _changed(before: Graph, after: Graph) -> set[str]:
    """What an update would touch: everything of `before` whose inputs, options or edges are others."""
    return {
        _label(resource) for urn, resource in before.resources.items() if after.resources.get(urn) != resource
    }


def _texts(value: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  whatever JSON holds
    """Every leaf of a value, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")
    else:
        yield path, value


def _model(index: int, **changes: object) -> dict[str, object]:
    """Config changes: the models of the stack file, one of them with something else."""
    return {"models": [{**model, **(changes if at == index else {})} for at, model in enumerate(MODELS)]}


def _job(graph: Graph) -> str:
    return graph.one("kubernetes:batch/v1:Job", "summarize-model").inputs["metadata"]["name"]


def test_the_dev_stack_is_exactly_this(dev: Graph) -> None:
    """What is there once, and what is there once for each of two models; nothing more, nothing less."""
    assert _types([*dev.resources.values()]) == SHARED + PER_MODEL + PER_MODEL


def test_another_model_adds_its_own_and_touches_what_is_shared(dev: Graph) -> None:
    """Of what was there, who counts, watches or uses queues has one more, and there may be more nodes."""
    third = {"name": "third", "from": "tiny"}
    after = evaluate(DEV, {"models": [*MODELS, third]})
    assert (
        _types([after.resources[urn] for urn in after.resources.keys() - dev.resources.keys()]) == PER_MODEL
    )
    assert _changed(dev, after) == {
        "RolePolicy keda",
        "Release addons-autoscaler",
        "Policy readers",
        "Policy uploaders",
        "Dashboard watch",
        "MetricAlarm watch-idle-g6-2xlarge",
    }
    releases = [graph.one("kubernetes:helm.sh/v3:Release", "addons-autoscaler") for graph in (dev, after)]
    assert [each.inputs["values"]["extraArgs"]["max-nodes-total"] for each in releases] == ["7", "9"]


def test_a_prompt_is_its_service_alone(dev: Graph) -> None:
    """An edited prompt changes the ConfigMap of its own Service: no model is pulled, nobody else notices."""
    assert _changed(dev, evaluate(DEV, _model(0, prompt="Why?"))) == {"ConfigMap summarize"}


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_every_input_is_a_value(stack: str, request: pytest.FixtureRequest) -> None:
    """No None, and no text of an Output, an object or an unknown, is in any input, output or export."""
    graph: Graph = request.getfixturevalue(stack)
    marks = ("None", "Output[", "<pulumi", " object at 0x", "04da6b54-80e4-46f7-96ec-b56ff0331ba9")
    values = {
        **{_label(resource): [resource.inputs, resource.outputs] for resource in graph.resources.values()},
        "exports": [graph.exports],
    }
    odd = [
        (path, value)
        for label, value in values.items()
        for path, value in _texts(value, label)
        if value is None or any(mark in str(value) for mark in marks)
    ]
    assert odd == []


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_a_preview_has_nothing_unknown(
    stack: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that the mocks forget is left out of inputs in silence, but in a preview it is unknown."""
    monkeypatch.setattr(mocks, "set_mocks", functools.partial(mocks.set_mocks, preview=True))
    assert evaluate(ROOT / f"Pulumi.{stack}.yaml") == request.getfixturevalue(stack)


def test_a_deployment_begins_with_no_pods_and_leaves_their_number_alone(dev: Graph) -> None:
    """KEDA's field is set once to 0 and never again; a rollout frees its GPU before it asks for another."""
    for name in ("summarize", "extract"):
        deployment = dev.one("kubernetes:apps/v1:Deployment", name)
        assert deployment.inputs["spec"]["replicas"] == 0
        assert deployment.inputs["spec"]["strategy"] == {"type": "Recreate"}
        assert deployment.ignore_changes == ("spec.replicas",)


def test_no_rollout_is_awaited_and_every_deletion_is(dev: Graph) -> None:
    """With skipAwait, rights and queues would go while a pod still has a document in hand."""
    annotations = [
        each.inputs["metadata"].get("annotations", {})
        for each in dev.resources.values()
        if each.custom and "metadata" in each.inputs
    ]
    assert not [each for each in annotations if "pulumi.com/skipAwait" in each]
    for deployment in dev.of_type("kubernetes:apps/v1:Deployment"):
        assert deployment.inputs["metadata"]["annotations"] == {
            "pulumi.com/waitFor": "jsonpath={.metadata.uid}"
        }


def test_a_job_is_new_for_another_source_image_or_file_system(
    dev: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for nothing else: a prompt, an option or a limit pulls no model again."""
    served = {"prompt": "Why?", "options": {"num_ctx": 512}, "server": {"flashAttention": True}}
    same = evaluate(DEV, _model(0, **served, timeLimit="1m", maxInstances=1))
    assert _job(same) == _job(dev)
    names = [
        _job(dev),
        _job(evaluate(DEV, _model(0, **{"from": "llama3.2:1b"}))),
        _job(evaluate(DEV, {"image": "registry.test/ollama-eks:2"})),
    ]
    monkeypatch.setitem(COMPUTED, "aws:efs/fileSystem:FileSystem", lambda _name, _inputs: {"id": "fs-other"})
    names.append(_job(evaluate(DEV)))
    assert len(set(names)) == 4
    # The model's hash leads; image and file system are told by the end.
    assert [name.split("-")[1] == names[0].split("-")[1] for name in names] == [True, False, True, True]


@pytest.mark.parametrize(
    ("table", "token", "sentence"),
    [
        (COMPUTED, "aws:sqs/queue:Queue", "the program uses aws:sqs/queue:Queue: without a row"),
        (
            INVOKES,
            "aws:index/getPartition:getPartition",
            "the program uses aws:index/getPartition:getPartition: without a row",
        ),
    ],
)
def test_what_the_mocks_do_not_know_is_an_error(  # noqa: PLR0913  three fixtures and a table
    *,
    dev: Graph,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    table: dict[str, object],
    token: str,
    sentence: str,
) -> None:
    """The error names the type, says nothing twice, and leaves nothing behind for the next evaluation."""
    with monkeypatch.context() as patch:
        patch.delitem(table, token)
        with pytest.raises(GraphError) as caught:
            evaluate(DEV)
    assert str(caught.value) == f"{sentence} in cli/computed.py"
    assert evaluate(DEV) == dev
    assert caplog.records == []


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        (
            {"gpuCount": 9, "models": [{"name": "A", "from": "tiny"}]},
            [
                'gpuCount: given "9": is more than the 1 GPU(s) of g6.2xlarge',
                f'models[0].name: given "A": {LABEL}',
            ],
        ),
        ({"models": "[{"}, ['models: given "[{": input should be a valid tuple']),
        ({"image": ""}, [f'image: given "": {IMAGE}']),
    ],
)
def test_a_broken_config_is_its_problems(
    caplog: pytest.LogCaptureFixture, changes: dict[str, object], problems: list[str]
) -> None:
    """All of them, in the program's own words, and no line of a traceback."""
    with pytest.raises(GraphError) as caught:
        evaluate(DEV, changes)
    lines = [f"  - {problem}" for problem in problems]
    assert str(caught.value).splitlines() == [
        f"the stack's config has {len(problems)} problem(s):",
        *lines,
    ]
    assert caplog.records == []


def test_exports_are_what_people_need(dev: Graph) -> None:
    """Where documents go in, where results come out, which cluster it is, and what serves its models."""
    models = {
        name: dev.one("kubernetes:core/v1:ConfigMap", name).inputs["data"]["model.json"]
        for name in ("summarize", "extract")
    }
    assert json.loads(json.dumps(dev.exports)) == {
        "documents": "documents-graph",
        "results": "results-graph",
        "uploaders": "arn:aws:iam::123456789012:policy/uploaders-graph",
        "readers": "arn:aws:iam::123456789012:policy/readers-graph",
        "cluster": "ollama-eks-dev",
        "serving": {
            "namespace": "ollama",
            "readClaim": "models-read-graph",
            "priorityClass": "pod-rules-graph",
            "image": yaml.safe_load(DEV.read_text())["config"]["ollama-eks:image"],
            "models": models,
        },
    }


def test_both_claims_have_the_one_shared_mode_that_the_driver_knows(dev: Graph) -> None:
    """The EFS driver mounts ReadWriteMany and refuses ReadOnlyMany; `ro` and another uid keep readers out."""
    volumes = dev.of_type("kubernetes:core/v1:PersistentVolume")
    claims = dev.of_type("kubernetes:core/v1:PersistentVolumeClaim")
    assert [each.inputs["spec"]["accessModes"] for each in (*volumes, *claims)] == [["ReadWriteMany"]] * 4
    assert {each.name: each.inputs["spec"].get("mountOptions") for each in volumes} == {
        "models-read": ["ro"],
        "models-write": [],
    }


def test_a_failed_job_is_made_anew(dev: Graph) -> None:
    """The next `pulumi up` replaces a Job that is not ready instead of waiting for it again."""
    for job in dev.of_type("kubernetes:batch/v1:Job"):
        assert job.inputs["metadata"]["annotations"] == {"pulumi.com/replaceUnready": "true"}


@pytest.mark.parametrize("protect", [True, False])
def test_a_bucket_can_be_emptied_only_without_protection(protect: bool) -> None:  # noqa: FBT001
    """A protected bucket is never emptied; an unprotected one does not stop a destroy."""
    buckets = evaluate(DEV, {"protect": protect}).of_type("aws:s3/bucket:Bucket")
    assert [bucket.inputs["forceDestroy"] for bucket in buckets] == [not protect] * 2
