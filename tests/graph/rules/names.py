"""Rules of names and sizes: each within the limit of the service that takes it, suffixes included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.graph.rules.policies import label, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.graph import Graph

AUTO_NAMED = len("-0123456")
"""Pulumi's AWS provider appends a dash and seven characters to a resource's own name."""

AUTO_NAMED_IN_KUBERNETES = len("-01234567")
"""Its Kubernetes provider a dash and eight."""

LIMITS = {
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": ("alarmName", 255),
    "aws:cloudwatch/dashboard:Dashboard": ("dashboardName", 255),
    "aws:cloudwatch/eventRule:EventRule": ("name", 64),
    "aws:cloudwatch/logGroup:LogGroup": ("name", 512),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ("name", 255),
    "aws:ec2/launchTemplate:LaunchTemplate": ("name", 128),
    "aws:ec2/securityGroup:SecurityGroup": ("name", 255),
    "aws:ecr/repository:Repository": ("name", 256),
    "aws:eks/nodeGroup:NodeGroup": ("nodeGroupName", 63),
    "aws:iam/policy:Policy": ("name", 128),
    "aws:iam/role:Role": ("name", 64),
    "aws:iam/rolePolicy:RolePolicy": ("name", 128),
    "aws:s3/bucket:Bucket": ("bucket", 63),
    "aws:sns/topic:Topic": ("name", 256),
    "aws:sqs/queue:Queue": ("name", 80),
    "eks:index:Cluster": ("name", 100),
}
"""The input that is the name, and what it may have, in characters: each service's API reference."""

LABEL = 63
"""Names that become labels of pods, or DNS labels (Kubernetes, "Object Names and IDs")."""

AS_LABELS = (
    "kubernetes:apps/v1:Deployment",
    "kubernetes:batch/v1:Job",
    "kubernetes:core/v1:Namespace",
    "kubernetes:core/v1:ServiceAccount",
    "kubernetes:keda.sh/v1alpha1:ScaledObject",
)

SIZES = {
    "aws:ec2/vpcEndpoint:VpcEndpoint": 20_480,
    "aws:efs/fileSystemPolicy:FileSystemPolicy": 20_000,
    "aws:iam/policy:Policy": 6_144,
    "aws:iam/role:Role": 2_048,
    "aws:iam/rolePolicy:RolePolicy": 10_240,
    "aws:kms/key:Key": 32_768,
    "aws:s3/bucketPolicy:BucketPolicy": 20_480,
    "aws:sns/topicPolicy:TopicPolicy": 30_720,
    "aws:sqs/queuePolicy:QueuePolicy": 8_192,
}
"""Of policies, in characters or bytes: each service's quotas. IAM counts no white space."""

SUFFIX = len("-0123456") - len("-graph")
"""What a real suffix is longer than the graph's own."""


def every_name_fits(graph: Graph) -> Iterator[str]:
    """Given or made up, with the suffix that its provider appends."""
    for token, (place, limit) in LIMITS.items():
        for resource in graph.of_type(token):
            given = resource.inputs.get(place)
            length = len(resource.name) + AUTO_NAMED if given is None else len(given)
            if length > limit:
                yield f"{label(resource)}: its name has {length} characters, {limit} are the most"
    for token in AS_LABELS:
        for resource in graph.of_type(token):
            given = resource.inputs["metadata"].get("name")
            length = len(resource.name) + AUTO_NAMED_IN_KUBERNETES if given is None else len(given)
            if length > LABEL:
                yield f"{label(resource)}: its name has {length} characters, {LABEL} are the most"


def every_policy_fits(graph: Graph) -> Iterator[str]:
    """However many models it names."""
    for resource, text in texts(graph):
        longer, limit = SUFFIX * text.count("-graph"), SIZES[resource.type]
        size = longer + len("".join(text.split()) if ":iam/" in resource.type else text)
        if size > limit:
            yield f"{label(resource)}: its policy has {size} characters, {limit} are the most"


RULES = (every_name_fits, every_policy_fits)
