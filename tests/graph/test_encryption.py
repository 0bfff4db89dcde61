"""The key: none, one that is given, or one that is made, and whom that one admits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import evaluate
from tests.graph.stacks import DEV, KEY, graph_of

if TYPE_CHECKING:
    from cli.graph import Graph

MADE_KEY = "arn:aws:kms:eu-central-1:123456789012:key/encryption"
WRITES = ["kms:GenerateDataKey", "kms:Decrypt"]
WHOLE_USE = [
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:DescribeKey",
]
OF_ACCOUNT = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
SCALING = (
    "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
)


def _key(graph: Graph) -> dict[str, Any]:
    (key,) = graph.of_type("aws:kms/key:Key")
    return key.inputs


def _admitted(graph: Graph) -> dict[str, tuple[Any, Any, Any]]:
    """By the name of each statement: principal, actions and condition."""
    statements = json.loads(_key(graph)["policy"])["Statement"]
    assert {(each["Effect"], each["Resource"]) for each in statements} == {("Allow", "*")}
    return {each["Sid"]: (each["Principal"], each["Action"], each.get("Condition")) for each in statements}


@pytest.mark.parametrize("stack", ["dev", "own key"])
def test_no_key_is_made_unasked(stack: str) -> None:
    """Without `create` there is none, whether one is given or not."""
    assert graph_of(stack).of_type("aws:kms/key:Key") == ()


def test_without_one_each_service_has_its_own(dev: Graph) -> None:
    """No resource names a key, and no role has a right to one."""
    assert "kms:" not in json.dumps([each.inputs for each in dev.resources.values()])


def test_a_key_that_is_made_admits_exactly_these() -> None:
    """IAM, the services that write in their own name, and the one role that attaches disks."""
    logs = "arn:aws:logs:eu-central-1:123456789012:log-group:*"
    scaling = {"ArnEquals": {"aws:PrincipalArn": SCALING}}
    assert _admitted(graph_of("unprotected")) == {
        "IamDecides": ({"AWS": "arn:aws:iam::123456789012:root"}, ["kms:*"], None),
        "Events": ({"Service": "events.amazonaws.com"}, WRITES, OF_ACCOUNT),
        "Logs": (
            {"Service": "logs.eu-central-1.amazonaws.com"},
            WHOLE_USE,
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
        ),
        "Disks": ({"AWS": "*"}, WHOLE_USE, scaling),
        "DisksOfInstances": (
            {"AWS": "*"},
            ["kms:CreateGrant"],
            {**scaling, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
    }


def test_who_sends_alerts_is_admitted_where_there_are_some() -> None:
    """Alarms and the budget write to a topic under the same key."""
    with_alerts, without = _admitted(graph_of("production")), _admitted(graph_of("unprotected"))
    assert {sid: with_alerts[sid] for sid in with_alerts.keys() - without.keys()} == {
        sender.capitalize(): ({"Service": f"{sender}.amazonaws.com"}, WRITES, OF_ACCOUNT)
        for sender in ("cloudwatch", "budgets")
    }


def test_a_worker_uses_the_key_through_s3_and_sqs_alone() -> None:
    """And a Job, which reads its model's files, through S3 alone."""

    def rights(name: str) -> list[dict[str, Any]]:
        policy = graph_of("own key").one("aws:iam/rolePolicy:RolePolicy", name).inputs["policy"]
        return [each for each in json.loads(policy)["Statement"] if "kms:Decrypt" in each["Action"]]

    assert {name: rights(name) for name in ("summarize", "summarize-model")} == {
        name: [
            {
                "Effect": "Allow",
                "Action": actions,
                "Resource": [KEY],
                "Condition": {
                    "StringEquals": {
                        "kms:ViaService": [f"{each}.eu-central-1.amazonaws.com" for each in through]
                    }
                },
            }
        ]
        for name, actions, through in (
            ("summarize", WRITES, ["s3", "sqs"]),
            ("summarize-model", ["kms:Decrypt"], ["s3"]),
        )
    }


def test_the_file_system_takes_the_key() -> None:
    """It is encrypted in any case."""
    files = [
        graph_of(stack).one("aws:efs/fileSystem:FileSystem", "models").inputs
        for stack in ("dev", "own key", "production")
    ]
    assert [each["encrypted"] for each in files] == [True] * 3
    assert [each.get("kmsKeyId") for each in files] == [None, KEY, MADE_KEY]


def test_a_key_changes_nothing_but_keys_and_rights() -> None:
    """Of what is there without one nothing goes, and what comes is the key."""
    without, with_key = graph_of("dev"), evaluate(DEV, {"encryptionKey": "create"})
    assert without.resources.keys() - with_key.resources.keys() == set()
    (made,) = (with_key.resources[urn] for urn in with_key.resources.keys() - without.resources.keys())
    assert made.type == "aws:kms/key:Key"


def test_a_model_store_is_reached_over_an_access_point_and_tls(dev: Graph) -> None:
    """One way in reads and the other writes too; whoever comes otherwise is refused by EFS."""
    text = dev.one("aws:efs/fileSystemPolicy:FileSystemPolicy", "models").inputs["policy"]
    here = "arn:aws:elasticfilesystem:eu-central-1:123456789012"
    mount, write = "elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"

    def statement(sid: str, effect: str, actions: list[str], condition: dict[str, Any]) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Effect": effect,
            "Principal": {"AWS": "*"},
            "Action": actions,
            "Resource": f"{here}:file-system/models",
            "Condition": condition,
        }

    def over(access_point: str) -> dict[str, Any]:
        return {
            "Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"},
            "ArnEquals": {"elasticfilesystem:AccessPointArn": f"{here}:access-point/{access_point}"},
        }

    in_the_clear = {"Bool": {"aws:SecureTransport": "false"}}
    assert json.loads(text)["Statement"] == [
        statement("Readers", "Allow", [mount], over("models-read")),
        statement("Writers", "Allow", [mount, write], over("models-write")),
        statement("OnlyOverTls", "Deny", [mount, write, "elasticfilesystem:ClientRootAccess"], in_the_clear),
    ]


@pytest.mark.parametrize("volume", ["models-read", "models-write"])
def test_nothing_is_mounted_before_the_policy(dev: Graph, volume: str) -> None:
    """Without one EFS lets in whoever reaches a mount target."""
    policy = dev.one("aws:efs/fileSystemPolicy:FileSystemPolicy", "models")
    assert policy.urn in dev.one("kubernetes:core/v1:PersistentVolume", volume).dependencies
