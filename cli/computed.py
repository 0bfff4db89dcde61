"""What a provider would answer beyond a resource's own inputs: one row for each type that the program uses.

Mocks answer None for every output that is not an input, and an input made of it is left out in silence. So a
type without a row here is an error; a row that misses an output shows as an unknown in a preview, which a
test makes of every stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Inputs = Mapping[str, Any]
    Row = Callable[[str, Inputs], dict[str, Any]]

ACCOUNT = "123456789012"
REGION = "eu-central-1"
SUFFIX = "graph"
"""Stands for the random suffix of a provider's automatic name."""


def _nothing(_name: str, _inputs: Inputs) -> dict[str, Any]:
    return {}


def _named(name: str, inputs: Inputs) -> dict[str, Any]:
    """A Kubernetes object: named by the provider where the program did not."""
    metadata: Inputs = inputs.get("metadata", {})
    return {"metadata": {"name": f"{name}-{SUFFIX}", **metadata}}


def _bucket(name: str, _: Inputs) -> dict[str, Any]:
    bucket = f"{name}-{SUFFIX}"
    return {"id": bucket, "bucket": bucket, "arn": f"arn:aws:s3:::{bucket}"}


def _queue(name: str, _: Inputs) -> dict[str, Any]:
    queue = f"{name}-{SUFFIX}"
    return {
        "name": queue,
        "arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
        "url": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{queue}",
    }


def _rule(name: str, _: Inputs) -> dict[str, Any]:
    rule = f"{name}-{SUFFIX}"
    return {"name": rule, "arn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule}"}


def _alarm(name: str, inputs: Inputs) -> dict[str, Any]:
    alarm = inputs.get("alarmName", f"{name}-{SUFFIX}")
    return {"name": alarm, "arn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm}"}


def _topic(name: str, _: Inputs) -> dict[str, Any]:
    topic = f"{name}-{SUFFIX}"
    return {"name": topic, "arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}"}


def _log_group(name: str, inputs: Inputs) -> dict[str, Any]:
    group = inputs.get("name", f"{name}-{SUFFIX}")
    return {"name": group, "arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"}


def _repository(name: str, _: Inputs) -> dict[str, Any]:
    repository = f"{name}-{SUFFIX}"
    url = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{repository}"
    return {"name": repository, "registryId": ACCOUNT, "repositoryUrl": url}


def _node_group(name: str, _: Inputs) -> dict[str, Any]:
    return {"resources": [{"autoscalingGroups": [{"name": f"eks-{name}-{SUFFIX}"}]}]}


def _existing_subnet(inputs: Inputs) -> dict[str, Any]:
    """An empty private subnet, in the zone that the last letter of its id names."""
    zone = f"{REGION}{inputs['id'][-1]}"
    return {"availabilityZone": zone, "availableIpAddressCount": 16_379, "mapPublicIpOnLaunch": False}


COMPUTED: dict[str, Row] = {
    "aws:autoscaling/tag:Tag": _nothing,
    "aws:budgets/budget:Budget": _nothing,
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": _alarm,
    "aws:cloudwatch/dashboard:Dashboard": _nothing,
    "aws:cloudwatch/eventRule:EventRule": _rule,
    "aws:cloudwatch/eventTarget:EventTarget": _nothing,
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _nothing,
    "aws:ec2/eip:Eip": lambda name, _: {"allocationId": f"eipalloc-{name}"},
    "aws:ec2/flowLog:FlowLog": _nothing,
    "aws:ec2/internetGateway:InternetGateway": _nothing,
    "aws:ec2/launchTemplate:LaunchTemplate": lambda _name, _inputs: {"latestVersion": 1},
    "aws:ec2/natGateway:NatGateway": _nothing,
    "aws:ec2/route:Route": _nothing,
    "aws:ec2/routeTable:RouteTable": _nothing,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _nothing,
    "aws:ec2/securityGroup:SecurityGroup": _nothing,
    "aws:ec2/subnet:Subnet": _nothing,
    "aws:ec2/vpc:Vpc": _nothing,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _nothing,
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": _nothing,
    "aws:ecr/repository:Repository": _repository,
    "aws:efs/accessPoint:AccessPoint": lambda name, _: {
        "arn": f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/{name}"
    },
    "aws:efs/fileSystem:FileSystem": lambda name, _: {
        "arn": f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:file-system/{name}"
    },
    "aws:efs/fileSystemPolicy:FileSystemPolicy": _nothing,
    "aws:efs/mountTarget:MountTarget": _nothing,
    "aws:eks/addon:Addon": _nothing,
    "aws:eks/cluster:Cluster": lambda _, inputs: {
        "endpoint": f"https://{inputs['name']}.{REGION}.eks.amazonaws.com",
        "vpcConfig": {"clusterSecurityGroupId": f"sg-{inputs['name']}", "subnetIds": []},
    },
    "aws:eks/nodeGroup:NodeGroup": _node_group,
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": _nothing,
    "aws:iam/policy:Policy": lambda name, _: {"arn": f"arn:aws:iam::{ACCOUNT}:policy/{name}-{SUFFIX}"},
    "aws:iam/role:Role": lambda name, _: {"arn": f"arn:aws:iam::{ACCOUNT}:role/{name}-{SUFFIX}"},
    "aws:iam/rolePolicy:RolePolicy": _nothing,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": _nothing,
    "aws:kms/key:Key": lambda name, _: {"arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}"},
    "aws:s3/bucket:Bucket": _bucket,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _nothing,
    "aws:s3/bucketNotification:BucketNotification": _nothing,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _nothing,
    "aws:s3/bucketPolicy:BucketPolicy": _nothing,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _nothing,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _nothing,
    "aws:s3/bucketVersioning:BucketVersioning": _nothing,
    "aws:sns/topic:Topic": _topic,
    "aws:sns/topicPolicy:TopicPolicy": _nothing,
    "aws:sns/topicSubscription:TopicSubscription": _nothing,
    "aws:sqs/queue:Queue": _queue,
    "aws:sqs/queuePolicy:QueuePolicy": _nothing,
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": _nothing,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _nothing,
    "docker-build:index:Image": lambda _name, _inputs: {"digest": f"sha256:{'0' * 64}"},
    "eks:index:Cluster": lambda _, inputs: {"kubeconfigJson": f'{{"clusters":["{inputs["name"]}"]}}'},
    "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy": _named,
    "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding": _named,
    "kubernetes:apps/v1:Deployment": _named,
    "kubernetes:batch/v1:CronJob": _named,
    "kubernetes:batch/v1:Job": _named,
    "kubernetes:core/v1:ConfigMap": _named,
    "kubernetes:core/v1:Namespace": _named,
    "kubernetes:core/v1:PersistentVolume": _named,
    "kubernetes:core/v1:PersistentVolumeClaim": _named,
    "kubernetes:core/v1:ServiceAccount": _named,
    "kubernetes:helm.sh/v3:Release": _nothing,
    "kubernetes:keda.sh/v1alpha1:ClusterTriggerAuthentication": _named,
    "kubernetes:keda.sh/v1alpha1:ScaledObject": _named,
    "kubernetes:networking.k8s.io/v1:NetworkPolicy": _named,
    "kubernetes:rbac.authorization.k8s.io/v1:Role": _named,
    "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": _named,
    "kubernetes:scheduling.k8s.io/v1:PriorityClass": _named,
    "pulumi:providers:kubernetes": _nothing,
}

INVOKES: dict[str, dict[str, Any] | Callable[[Inputs], dict[str, Any]]] = {
    "aws:cloudwatch/getEventBus:getEventBus": {"arn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"},
    "aws:ec2/getSubnet:getSubnet": _existing_subnet,
    "aws:ec2/getSubnets:getSubnets": lambda inputs: {"ids": inputs["filters"][1]["values"]},
    "aws:ec2/getVpc:getVpc": {"enableDnsHostnames": True, "enableDnsSupport": True},
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": {"userName": "AWS", "password": "graph"},
    "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": ACCOUNT},
    "aws:index/getPartition:getPartition": {"partition": "aws", "dnsSuffix": "amazonaws.com"},
}
