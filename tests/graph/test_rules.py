"""Rules that hold for all resources of all example stacks, and each of them seen to fail on a broken copy."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import Graph
from tests.graph.rules import encryption, exposure, names, pods, policies, rights
from tests.graph.stacks import STACKS, graph_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[[Graph], Any]
    Change = Callable[[dict[str, Any]], object]

RULES: dict[str, Rule] = {
    rule.__name__: rule
    for module in (policies, rights, exposure, encryption, pods, names)
    for rule in module.RULES
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("rule", RULES)
def test_every_stack_keeps_every_rule(stack: str, rule: str) -> None:
    """Whatever a team switches on, and however many models it has."""
    assert list(RULES[rule](graph_of(stack))) == []


def test_every_reason_is_used() -> None:
    """Nothing is excused that is not there."""
    wide = {
        (statement.of.type.rpartition(":")[2], each)
        for stack in STACKS
        for statement in policies.statements(graph_of(stack))
        for each in rights.wide(statement)
    }
    assert wide == set(rights.REASONS)


def broken(kind: str, name: str, change: Change) -> Graph:
    """The production stack, but for one resource whose inputs are changed."""
    graph = graph_of("production")
    (resource,) = (
        each
        for each in graph.resources.values()
        if each.type.rpartition(":")[2] == kind and each.name == name and "ollama-eks" not in each.type
    )
    inputs = copy.deepcopy(resource.inputs)
    change(inputs)
    other = dataclasses.replace(resource, inputs=inputs)
    return Graph({**graph.resources, resource.urn: other}, graph.exports)


def policy(number: int, place: str = "policy", **changes: object) -> Change:
    """Changes a statement of a policy; what is None goes."""

    def change(inputs: dict[str, Any]) -> None:
        document = json.loads(inputs[place])
        statement = document["Statement"][number]
        statement |= changes
        document["Statement"][number] = {key: value for key, value in statement.items() if value is not None}
        inputs[place] = json.dumps(document)

    return change


def put(*path: str | int, value: object) -> Change:
    """Puts a value where the path leads."""

    def change(inputs: Any) -> None:  # noqa: ANN401  whatever JSON holds
        for part in path[:-1]:
            inputs = inputs[part]
        inputs[path[-1]] = value

    return change


def drop(*path: str | int) -> Change:
    """Takes away what the path leads to."""

    def change(inputs: Any) -> None:  # noqa: ANN401  likewise
        for part in path[:-1]:
            inputs = inputs[part]
        del inputs[path[-1]]

    return change


POD = ("spec", "template", "spec")
WORKER, BUCKET = "summarize", "documents"
HOLDS = "aws:SourceArn"

ROOT = "arn:aws:iam::123456789012:root"

BROKEN: list[tuple[str, str, str, Change]] = [
    ("every_policy_is_read", "Queue", WORKER, put("policy", value='{"Statement": []}')),
    ("every_policy_is_well_formed", "RolePolicy", WORKER, policy(9, Action=["events:PutEvent"])),
    ("every_policy_is_well_formed", "RolePolicy", WORKER, policy(9, Condition={"StringEqual": {"a": "b"}})),
    ("every_policy_is_well_formed", "Role", WORKER, policy(0, "assumeRolePolicy", Resource=ROOT)),
    ("nothing_is_wide_without_a_reason", "RolePolicy", WORKER, policy(9, Action=["events:Put*"])),
    ("nothing_is_wide_without_a_reason", "RolePolicy", WORKER, policy(9, Resource=["*"])),
    ("nothing_is_wide_without_a_reason", "Key", "encryption", policy(1, Action=["kms:De*", "kms:Gen*"])),
    ("who_is_anybody_is_told_apart", "FileSystemPolicy", "models", policy(0, Condition=None)),
    ("roles_are_taken_by_services", "Role", WORKER, policy(0, "assumeRolePolicy", Principal={"AWS": ROOT})),
    ("running_roles_keep_what_is_the_users", "RolePolicy", WORKER, policy(1, Action=["s3:DeleteObject"])),
    ("running_roles_keep_what_is_the_users", "RolePolicy", WORKER, policy(6, Action=["sqs:PurgeQueue"])),
    (
        "running_roles_keep_what_is_the_users",
        "RolePolicyAttachment",
        "addons-efs-csi",
        put("policyArn", value="arn:aws:iam::aws:policy/AmazonElasticFileSystemFullAccess"),
    ),
    ("results_are_written_once", "RolePolicy", WORKER, policy(2, Condition=None)),
    (
        "models_keep_to_themselves",
        "RolePolicy",
        WORKER,
        policy(0, Resource=["arn:aws:s3:::documents-graph/extract/*"]),
    ),
    ("buckets_are_private", "BucketPublicAccessBlock", BUCKET, put("ignorePublicAcls", value=False)),
    ("buckets_are_private", "BucketOwnershipControls", BUCKET, put("rule", value={})),
    (
        "networks_let_in_private_addresses_alone",
        "SecurityGroupIngressRule",
        "models",
        put("cidrIpv4", value="0.0.0.0/0"),
    ),
    (
        "networks_let_in_private_addresses_alone",
        "Cluster",
        "cluster",
        put("endpointPublicAccess", value=True),
    ),
    (
        "networks_let_in_private_addresses_alone",
        "Cluster",
        "cluster",
        put("publicAccessCidrs", value=["::/0"]),
    ),
    (
        "networks_let_in_private_addresses_alone",
        "Subnet",
        "network-private-a",
        put("mapPublicIpOnLaunch", value=True),
    ),
    ("nothing_is_spoken_in_the_clear", "BucketPolicy", BUCKET, policy(0, Action="s3:GetObject")),
    ("nothing_is_spoken_in_the_clear", "QueuePolicy", f"{WORKER}-dead-letter", policy(0, Condition=None)),
    ("nothing_is_spoken_in_the_clear", "FileSystemPolicy", "models", policy(2, Resource="arn:aws:efs:::1")),
    ("pods_are_not_their_nodes", "LaunchTemplate", "nodes-system", put("metadataOptions", value={})),
    ("pods_are_not_their_nodes", "NodeGroup", "nodes-system", drop("launchTemplate")),
    ("everything_is_encrypted", "BucketServerSideEncryptionConfiguration", BUCKET, put("rules", value=[])),
    ("everything_is_encrypted", "FileSystem", "models", put("encrypted", value=False)),
    ("one_key_encrypts_all", "LogGroup", "cluster", drop("kmsKeyId")),
    ("one_key_encrypts_all", "FileSystem", "models", drop("kmsKeyId")),
    ("one_key_encrypts_all", "Cluster", "cluster", drop("encryptionConfigKeyArn")),
    (
        "one_key_encrypts_all",
        "LaunchTemplate",
        "nodes-system",
        drop("blockDeviceMappings", 0, "ebs", "kmsKeyId"),
    ),
    ("keys_are_looked_after", "Key", "encryption", put("enableKeyRotation", value=False)),
    (
        "a_key_admits_who_writes_and_nobody_else",
        "Key",
        "encryption",
        policy(1, Principal={"Service": "s3.amazonaws.com"}),
    ),
    ("a_key_admits_who_writes_and_nobody_else", "Key", "encryption", policy(4, Action=["kms:Decrypt"])),
    (
        "a_key_admits_who_writes_and_nobody_else",
        "Key",
        "encryption",
        policy(5, Condition={"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/Other"}}),
    ),
    ("who_uses_what_is_encrypted_may", "RolePolicy", WORKER, policy(5, Action=["kms:Decrypt"])),
    ("who_uses_what_is_encrypted_may", "Policy", "readers", policy(3, Condition=None)),
    ("every_pod_has_nodes_that_take_it", "Deployment", WORKER, drop(*POD, "tolerations")),
    (
        "every_pod_has_nodes_that_take_it",
        "Deployment",
        WORKER,
        put(*POD, "nodeSelector", value={"pool": "x"}),
    ),
    ("model_nodes_are_for_their_models", "NodeGroup", "nodes-g6-2xlarge", drop("taints")),
    (
        "documents_have_the_time_that_they_may_take",
        "Queue",
        WORKER,
        put("visibilityTimeoutSeconds", value=60.0),
    ),
    (
        "dead_letters_outlive_their_documents",
        "Queue",
        WORKER,
        put("messageRetentionSeconds", value=345_600.0),
    ),
    ("events_are_delivered_or_kept", "QueuePolicy", WORKER, policy(1, Condition={"ArnEquals": {HOLDS: "x"}})),
    (
        "events_are_delivered_or_kept",
        "EventTarget",
        WORKER,
        put(
            "deadLetterConfig",
            value={"arn": "arn:aws:sqs:eu-central-1:123456789012:extract-undelivered-graph"},
        ),
    ),
    ("every_name_fits", "Queue", WORKER, put("name", value="a" * 81)),
    ("every_policy_fits", "Policy", "readers", policy(1, Resource=[f"arn:aws:s3:::{'a' * 6144}"])),
]


def test_every_rule_is_broken_here() -> None:
    """None is there that has not been seen to fail."""
    assert {rule for rule, *_ in BROKEN} == RULES.keys() - {"nothing_is_published_by_kubernetes"}


@pytest.mark.parametrize(
    ("kind", "spec"), [("core/v1:Service", {"type": "LoadBalancer"}), ("networking.k8s.io/v1:Ingress", {})]
)
def test_what_kubernetes_publishes_is_seen(kind: str, spec: dict[str, Any]) -> None:
    """There is nothing yet that could be changed to it, so it is added."""
    graph = graph_of("production")
    any_other = graph.one("kubernetes:apps/v1:Deployment", WORKER)
    door = dataclasses.replace(any_other, urn="door", type=f"kubernetes:{kind}", inputs={"spec": spec})
    added = Graph({**graph.resources, "door": door}, graph.exports)
    assert [each for each in RULES if list(RULES[each](added))] == ["nothing_is_published_by_kubernetes"]


@pytest.mark.parametrize(
    ("rule", "kind", "name", "change"),
    BROKEN,
    ids=[f"{rule}-{kind} {name}" for rule, kind, name, _ in BROKEN],
)
def test_a_rule_fails_on_what_breaks_it(rule: str, kind: str, name: str, change: Change) -> None:
    """One thing is wrong, and the rule that is about it says so, and no other."""
    graph = broken(kind, name, change)
    assert [each for each in RULES if list(RULES[each](graph))] == [rule]
