"""Rules of who may do what: nothing wide without a reason, and nobody who deletes what is the users'."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moto.iam.aws_managed_policies import aws_managed_policies_data

from tests.graph.rules.policies import (
    Statement,
    actions_of,
    label,
    of_document,
    statements,
    takes_resources,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.graph import Graph

REASONS = {
    ("Key", "kms:*"): "without it IAM policies count for nothing, and nobody could change the key any more",
    ("Key", "AWS:*"): "one role by a condition: as a principal, one that is not there yet is refused",
    ("FileSystemPolicy", "AWS:*"): "clients mount without an identity: over an access point and TLS, or not",
    ("RolePolicy", "cloudwatch:putmetricdata"): "its one kind of resource is not for metrics; one namespace",
}
"""Each thing that is wide in an Allow, and why it is."""

RUNNING: dict[str, set[str]] = {
    "elasticfilesystem": set(),
    "kms": {"decrypt", "generatedatakey"},
    "s3": {"getobject", "getobjectversion", "listbucket", "putobject"},
    "sqs": {
        "changemessagevisibility",
        "deletemessage",
        "getqueueattributes",
        "receivemessage",
        "sendmessage",
    },
}
"""All that any role may do with what keeps documents, results and models: a message is what is deleted."""

CSI_DRIVER = {
    *("createaccesspoint", "deleteaccesspoint", "describeaccesspoints", "describefilesystems"),
    *("describemounttargets", "tagresource"),
}
"""What AWS's own policy gives the EFS driver: access points, and no file system."""


def nothing_is_wide_without_a_reason(graph: Graph) -> Iterator[str]:
    """No Allow has a wildcard for its action, its principal or its resource that is not in `REASONS`."""
    for statement in statements(graph):
        for each in wide(statement):
            if (statement.of.type.rpartition(":")[2], each) not in REASONS:
                yield f"{label(statement.of)} {statement.sid}: {each} is wide"


def wide(statement: Statement) -> Iterator[str]:
    """What of a statement is a wildcard: actions, principals, or actions on everything that take less."""
    if not statement.allow:
        return
    yield from (action for action in statement.actions if "*" in action or "?" in action)
    yield from (principal for principal in statement.principals if "*" in principal)
    # A key's own policy has no other word for the key.
    if "*" in statement.resources and not statement.of.type.endswith(":Key"):
        yield from (action for action in actions_of(statement.actions) if takes_resources(action))
    for arn in statement.resources:
        if arn != "*" and "*" in "".join(arn.split(":")[:3]):
            yield arn


def who_is_anybody_is_told_apart(graph: Graph) -> Iterator[str]:
    """An Allow for every principal has a condition that only some can meet."""
    telling = {"aws:PrincipalArn", "elasticfilesystem:AccessPointArn"}
    for statement in statements(graph):
        anybody = statement.allow and any(each.endswith(":*") for each in statement.principals)
        if anybody and not any(statement.only_if(key) for key in telling):
            yield f"{label(statement.of)} {statement.sid}: is for anybody"


def roles_are_taken_by_services(graph: Graph) -> Iterator[str]:
    """No account, user or role takes a role of the stack, and each names the one service that does."""
    for statement in statements(graph, "Role"):
        if len(statement.principals) != 1 or not statement.principals[0].startswith("Service:"):
            yield f"{label(statement.of)}: is taken by {', '.join(statement.principals)}"


def running_roles_keep_what_is_the_users(graph: Graph) -> Iterator[str]:
    """No role deletes a document, a result, a key or a file system, whatever pattern might say so."""
    for statement in statements(graph, "RolePolicy"):
        yield from _beyond(statement, RUNNING)
    managed = json.loads(aws_managed_policies_data)
    for attachment in graph.of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment"):
        name = attachment.inputs["policyArn"].rpartition("/")[2]
        for statement in of_document(managed[name]["Document"], attachment):
            yield from _beyond(statement, {**RUNNING, "elasticfilesystem": CSI_DRIVER})


def _beyond(statement: Statement, granted: dict[str, set[str]]) -> Iterator[str]:
    if not statement.allow:
        return
    for action in actions_of(statement.actions):
        service, _, name = action.partition(":")
        if service in granted and name not in granted[service]:
            yield f"{label(statement.of)}: may {action}"


def results_are_written_once(graph: Graph) -> Iterator[str]:
    """Whoever puts something under results puts it where nothing is; records alone are written over."""
    results = graph.one("aws:s3/bucket:Bucket", "results").outputs["arn"]
    for statement in statements(graph, "RolePolicy"):
        if not statement.allows("s3:PutObject"):
            continue
        for arn in statement.resources:
            once = statement.condition.get("Null", {}).get("s3:if-none-match") == "false"
            if not arn.startswith(f"{results}/"):
                yield f"{label(statement.of)}: puts into {arn}"
            elif not (once or arn.startswith(f"{results}/records/")):
                yield f"{label(statement.of)}: writes over {arn}"


def models_keep_to_themselves(graph: Graph) -> Iterator[str]:
    """A model's worker touches its own prefixes and queues, and reads what its rule sends it."""
    edges = {
        rule.name: json.loads(rule.inputs["eventPattern"])["detail"]
        for rule in graph.of_type("aws:cloudwatch/eventRule:EventRule")
    }
    for name, edge in edges.items():
        bucket, prefix = edge["bucket"]["name"][0], edge["object"]["key"][0]["prefix"]
        own = (
            f"{bucket}/{prefix}*",
            *(f"results-graph/{place}{name}/*" for place in ("", "records/")),
            *(f"{queue}-graph" for queue in (name, f"{name}-dead-letter")),
        )
        for statement in statements(graph, "RolePolicy"):
            if statement.of.name != name:
                continue
            for arn in statement.resources:
                service, resource = arn.split(":")[2] if ":" in arn else "", arn.rpartition(":")[2]
                whole_bucket = statement.actions == ("s3:ListBucket",) and "/" not in resource
                if service in {"s3", "sqs"} and resource not in own and not whole_bucket:
                    yield f"{label(statement.of)}: reaches {arn}"


RULES = (
    nothing_is_wide_without_a_reason,
    who_is_anybody_is_told_apart,
    roles_are_taken_by_services,
    running_roles_keep_what_is_the_users,
    results_are_written_once,
    models_keep_to_themselves,
)
