"""Every policy of a graph, read: who is allowed what on what, and under which condition."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from cfnlint.api import ManualArgs, lint
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource

from cli.computed import REGION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cli.graph import Graph, Resource

PLACES = {
    "aws:ec2/vpcEndpoint:VpcEndpoint": "policy",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "policy",
    "aws:iam/policy:Policy": "policy",
    "aws:iam/role:Role": "assumeRolePolicy",
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:kms/key:Key": "policy",
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
}
"""The input of each type that is a policy; endpoints and keys may do without one of the stack's."""

GRANTING = tuple(token.rpartition(":")[2] for token in PLACES if not token.endswith(":VpcEndpoint"))
"""All that give rights; an endpoint's policy only takes some away."""

LINTED_AS = {
    "FileSystemPolicy": ("AWS::KMS::Key", "KeyPolicy", ""),
    "VpcEndpoint": ("AWS::KMS::Key", "KeyPolicy", ""),
    "Key": ("AWS::KMS::Key", "KeyPolicy", ""),
    "Policy": ("AWS::IAM::ManagedPolicy", "PolicyDocument", ""),
    "Role": ("AWS::IAM::Role", "AssumeRolePolicyDocument", ""),
    "RolePolicy": ("AWS::IAM::ManagedPolicy", "PolicyDocument", ""),
    "BucketPolicy": ("AWS::S3::BucketPolicy", "PolicyDocument", "Bucket"),
    "TopicPolicy": ("AWS::SNS::TopicPolicy", "PolicyDocument", "Topics"),
    "QueuePolicy": ("AWS::SQS::QueuePolicy", "PolicyDocument", "Queues"),
}
"""CloudFormation's name for such a policy, by which the linter knows its grammar, and what else it wants
there. That of a key's policy has no actions of its own, so it fits others too."""

ACTIONS: dict[str, Any] = load_resource(AdditionalSpecs, "Policies.json")
"""The service authorization reference, as the linter has it: for each service its actions, in lower case."""


def label(resource: Resource) -> str:
    """Type and name, such as `Queue summarize`."""
    return f"{resource.type.rpartition(':')[2]} {resource.name}"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy, all of its lists as lists.

    Attributes:
        of: the resource whose policy it is in.
        sid: its name, empty without one.
        allow: False where it denies.
        principals: such as `Service:events.amazonaws.com`; none in an identity's own policy.
    """

    of: Resource
    sid: str
    allow: bool
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: dict[str, dict[str, Any]]

    def allows(self, action: str) -> bool:
        """Whether it allows an action, by name or by pattern."""
        return self.allow and any(fnmatchcase(action.lower(), each.lower()) for each in self.actions)

    def only_if(self, key: str) -> tuple[str, ...]:
        """What a condition key may be, whatever operator compares it; none where nothing is said of it."""
        return tuple(value for keys in self.condition.values() for value in _list(keys.get(key, [])))


def statements(graph: Graph, *types: str) -> list[Statement]:
    """All statements that give rights, or those in the policies of some types such as `RolePolicy`."""
    return [
        statement
        for resource, text in texts(graph)
        if resource.type.rpartition(":")[2] in (types or GRANTING)
        for statement in of_document(json.loads(text), resource)
    ]


def texts(graph: Graph) -> Iterator[tuple[Resource, str]]:
    """Every policy of a graph, and the resource that has it."""
    for token, place in PLACES.items():
        for resource in graph.of_type(token):
            if place in resource.inputs:
                yield resource, resource.inputs[place]


def of_document(document: dict[str, Any], of: Resource) -> list[Statement]:
    """The statements of one policy."""
    return [
        Statement(
            of=of,
            sid=each.get("Sid", ""),
            allow=each["Effect"] == "Allow",
            principals=_principals(each.get("Principal", {})),
            actions=tuple(_list(each["Action"])),
            resources=tuple(_list(each.get("Resource", []))),
            condition=each.get("Condition", {}),
        )
        for each in _list(document["Statement"])
    ]


def _list(value: Any) -> list[Any]:  # noqa: ANN401  whatever JSON holds
    return value if isinstance(value, list) else [value]


def _principals(principal: Any) -> tuple[str, ...]:  # noqa: ANN401  likewise
    named = {"AWS": principal} if isinstance(principal, str) else principal
    return tuple(f"{kind}:{each}" for kind, values in named.items() for each in _list(values))


def actions_of(patterns: Iterable[str]) -> Iterator[str]:
    """Every action that patterns such as `s3:Get*` stand for, in lower case."""
    for pattern in patterns:
        service, _, name = pattern.lower().partition(":")
        for known_service in [service] if service in ACTIONS else ACTIONS:
            for known in ACTIONS[known_service]["Actions"]:
                if fnmatchcase(f"{known_service}:{known}", f"{service}:{name}"):
                    yield f"{known_service}:{known}"


def takes_resources(action: str) -> bool:
    """Whether an action can be allowed for some resources and not for others."""
    service, _, name = action.lower().partition(":")
    return bool(ACTIONS[service]["Actions"][name].get("Resources"))


_LINTED: dict[tuple[str, str], list[str]] = {}
"""What was found in a policy of that kind and text; the linter takes a second for however few there are."""


def linted(policies: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """What the linter finds in policies, by their kind and text.

    Of their grammar, of actions that do not exist, and of resources that an action is not for.
    """
    new = {f"P{number}": policy for number, policy in enumerate({*policies} - _LINTED.keys())}
    resources: dict[str, Any] = {}
    for name, (kind, text) in new.items():
        token, place, besides = LINTED_AS[kind]
        other = {"": {}, "Bucket": {"Bucket": name.lower()}}.get(besides, {besides: [name]})
        resources[name] = {"Type": token, "Properties": {place: json.loads(text), **other}}
    _LINTED.update({policy: [] for policy in new.values()})
    checks = ManualArgs(include_checks=["I3510"], regions=[REGION])
    for match in lint(json.dumps({"Resources": resources}), config=checks) if new else ():
        # Resources, the policy's name, Properties, and where in it.
        _, name, _, *path = [str(part) for part in getattr(match, "path", [])]
        _LINTED[new[name]].append(f"{'.'.join(path)}: {match.message:.200}")
    return _LINTED


def every_policy_is_read(graph: Graph) -> Iterator[str]:
    """No policy is where no rule looks for it."""
    for resource in graph.resources.values():
        for place, value in resource.inputs.items():
            if isinstance(value, str) and '"Statement"' in value and PLACES.get(resource.type) != place:
                yield f"{label(resource)}: {place} is a policy, and not in PLACES"


def every_policy_is_well_formed(graph: Graph) -> Iterator[str]:
    """Each is valid IAM, of actions that exist, on resources that they are for."""
    policies = {resource.urn: (resource.type.rpartition(":")[2], text) for resource, text in texts(graph)}
    found = linted(policies.values())
    for urn, policy in policies.items():
        yield from (f"{label(graph.resources[urn])}: {problem}" for problem in found[policy])


RULES = (every_policy_is_read, every_policy_is_well_formed)
