"""The control plane: every input that decides what pulumi-eks makes, its log group, and who gets in.

Mocks see nothing of what `eks:index:Cluster` makes, so its inputs are held whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cli.graph import ROOT, evaluate

if TYPE_CHECKING:
    from pathlib import Path

    from cli.graph import Graph

CLUSTER = "eks:index:Cluster"
LOGS = "aws:cloudwatch/logGroup:LogGroup"
GROUP = "aws:eks/nodeGroup:NodeGroup"
POLICY = "AmazonEKSClusterAdminPolicy"
PROVIDER = "pulumi:providers:kubernetes"
DEV = ROOT / "Pulumi.dev.yaml"

EVERYBODY_ELSES = {
    "skipDefaultNodeGroup": True,
    "skipDefaultSecurityGroups": True,
    "createInstanceRole": False,
    "createOidcProvider": False,
    "bootstrapSelfManagedAddons": False,
    "useDefaultVpcCni": True,
    "corednsAddonOptions": {"enabled": False},
    "kubeProxyAddonOptions": {"enabled": False},
}
"""Nodes, groups and add-ons; the default CNI is the one that pulumi-eks does not manage."""


def _cluster(graph: Graph) -> dict[str, Any]:
    return graph.one(CLUSTER, "cluster").inputs


def test_the_cluster_is_exactly_this(dev: Graph) -> None:
    """No input is forgotten, and none is one more."""
    subnets = [f"network-private-{zone}-id" for zone in ("a", "b")]
    assert _cluster(dev) == {
        **EVERYBODY_ELSES,
        "name": "ollama-eks-dev",
        "version": "1.35",
        "upgradePolicy": {"supportType": "STANDARD"},
        "enabledClusterLogTypes": ["api", "audit", "authenticator"],
        "vpcId": "network-id",
        "privateSubnetIds": subnets,
        "endpointPrivateAccess": True,
        "endpointPublicAccess": True,
        "publicAccessCidrs": ["203.0.113.0/24"],
        "authenticationMode": "API",
        "accessEntries": {},
    }


def test_a_private_api_is_private() -> None:
    """Nobody outside the VPC reaches it, and no network is named, which EKS would refuse."""
    inputs = _cluster(evaluate(DEV, {"api": "private"}))
    assert inputs["endpointPrivateAccess"] is True
    assert inputs["endpointPublicAccess"] is False
    assert "publicAccessCidrs" not in inputs


def test_the_log_group_is_there_before_the_cluster(dev: Graph) -> None:
    """It has the one name that EKS writes to; made by EKS, it would keep everything for ever."""
    logs = dev.one(LOGS, "cluster")
    assert logs.inputs == {"name": "/aws/eks/ollama-eks-dev/cluster", "retentionInDays": 30}
    assert logs.urn in dev.one(CLUSTER, "cluster").dependencies
    longer = evaluate(DEV, {"logRetentionDays": 365}).one(LOGS, "cluster")
    assert longer.inputs["retentionInDays"] == 365


ADMINS = [
    "arn:aws:iam::123456789012:role/Operators",
    "arn:aws-us-gov:iam::210987654321:user/team/ada",
]


def test_administrators_have_an_entry_each() -> None:
    """Of the whole cluster, by the policy of their own partition."""
    assert _cluster(evaluate(DEV, {"admins": ADMINS}))["accessEntries"] == {
        key: {
            "principalArn": arn,
            "accessPolicies": {
                "admin": {
                    "policyArn": f"arn:{partition}:eks::aws:cluster-access-policy/{POLICY}",
                    "accessScope": {"type": "cluster"},
                }
            },
        }
        for key, arn, partition in (
            ("123456789012-role-Operators", ADMINS[0], "aws"),
            ("210987654321-user-team-ada", ADMINS[1], "aws-us-gov"),
        )
    }


def test_an_administrator_who_goes_takes_nobody_along() -> None:
    """An entry's key is its principal's, not its place in the list."""
    both = _cluster(evaluate(DEV, {"admins": ADMINS}))["accessEntries"]
    one = _cluster(evaluate(DEV, {"admins": ADMINS[1:]}))["accessEntries"]
    assert one.items() <= both.items()
    assert len(one) == 1


def test_nodes_follow_the_control_plane() -> None:
    """Every group gets the cluster's version, after the cluster: EKS refuses the next step otherwise."""
    graph = evaluate(DEV, {"kubernetesVersion": "1.34"})
    assert _cluster(graph)["version"] == "1.34"
    groups = graph.of_type(GROUP)
    assert [each.inputs["version"] for each in groups] == ["1.34", "1.34"]
    assert {graph.one(CLUSTER, "cluster").urn in each.dependencies for each in groups} == {True}


def test_the_provider_is_this_clusters(dev: Graph) -> None:
    """Another endpoint is another cluster: the one reason for a provider that replaces all it made."""
    (provider,) = dev.of_type(PROVIDER)
    assert provider.inputs == {
        "kubeconfig": '{"clusters":["ollama-eks-dev"]}',
        "clusterIdentifier": "https://ollama-eks-dev.eu-central-1.eks.amazonaws.com",
        "enableServerSideApply": "true",
    }


@pytest.mark.parametrize("file", sorted(ROOT.glob("Pulumi.*.yaml")), ids=lambda file: file.name)
def test_there_is_no_default_kubernetes_provider(file: Path) -> None:
    """It would write to whatever cluster is current where `pulumi up` runs."""
    config = yaml.safe_load(file.read_text())["config"]
    assert config["pulumi:disable-default-providers"] == ["kubernetes"]
