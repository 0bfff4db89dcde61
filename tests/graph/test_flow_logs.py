"""Flow logs of the VPC: all of it, for as long as the config says, by a role of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.graph import PROJECT, ROOT, Project, evaluate

if TYPE_CHECKING:
    from cli.graph import Graph

NAME = "network-flow-logs"
GROUP = f"arn:aws:logs:eu-central-1:123456789012:log-group:{NAME}-graph"


KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def _network(**changes: object) -> Graph:
    program = Project(PROJECT, ROOT / "tests" / "graph" / "network_program.py")
    return evaluate(ROOT / "Pulumi.dev.yaml", changes, project=program)


@pytest.fixture(scope="module")
def network(_outputs_are_no_text: None) -> Graph:
    """The network alone, with logs that are kept for a week."""
    return _network(logRetentionDays=7)


def test_all_traffic_goes_into_a_group_of_its_own(network: Graph) -> None:
    """What was let through and what was not; it is kept for as long as all logs are."""
    log = network.one("aws:ec2/flowLog:FlowLog", NAME)
    assert log.inputs == {
        "vpcId": "network-id",
        "trafficType": "ALL",
        "logDestination": GROUP,
        "iamRoleArn": f"arn:aws:iam::123456789012:role/{NAME}-graph",
    }
    assert network.one("aws:cloudwatch/logGroup:LogGroup", NAME).inputs == {"retentionInDays": 7}


def test_they_are_encrypted_with_the_stacks_key() -> None:
    """Where it has one."""
    group = _network(encryptionKey=KEY).one("aws:cloudwatch/logGroup:LogGroup", NAME)
    assert group.inputs == {"retentionInDays": 30, "kmsKeyId": KEY}


def test_the_role_writes_there_and_nowhere_else(network: Graph) -> None:
    """It makes no group: late records would bring one back that has just been deleted."""
    policy = network.one("aws:iam/rolePolicy:RolePolicy", NAME)
    assert json.loads(policy.inputs["policy"])["Statement"] == [
        {
            "Effect": "Allow",
            "Action": [
                "logs:CreateLogStream",
                "logs:PutLogEvents",
                "logs:DescribeLogGroups",
                "logs:DescribeLogStreams",
            ],
            "Resource": f"{GROUP}:*",
        }
    ]
    assert policy.urn in network.one("aws:ec2/flowLog:FlowLog", NAME).dependencies


def test_the_role_is_taken_for_this_account_alone(network: Graph) -> None:
    """The service that takes it works for every account."""
    trust = network.one("aws:iam/role:Role", NAME).inputs["assumeRolePolicy"]
    assert json.loads(trust)["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": "arn:aws:ec2:eu-central-1:123456789012:vpc-flow-log/*"},
            },
        }
    ]
