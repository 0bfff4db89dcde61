"""Rules of encryption at rest: everywhere, by one key where there is one, which admits all who write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.computed import REGION
from tests.graph.rules.exposure import settings_of
from tests.graph.rules.policies import label, statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.graph import Graph, Resource

DEFAULT = "the service's own"
"""Stands for the key of a store that names none and is encrypted all the same."""

ALWAYS_ENCRYPTED = {
    "aws:cloudwatch/logGroup:LogGroup": "kmsKeyId",
    "aws:sns/topic:Topic": "kmsMasterKeyId",
    "eks:index:Cluster": "encryptionConfigKeyArn",
}
"""Stores that encrypt by themselves, or for a topic keep nothing, and the input that names a key."""

DISKS = ("/dev/xvda", "/dev/xvdb")
"""Of a Bottlerocket node: its own, and that of containers."""

SCALING = "AWSServiceRoleForAutoScaling"


def stores(graph: Graph) -> Iterator[tuple[Resource, str | None]]:
    """Everything that keeps data, and the key that encrypts it; None where nothing does."""
    for bucket in graph.of_type("aws:s3/bucket:Bucket"):
        kind = "BucketServerSideEncryptionConfiguration"
        rules = [rule for each in settings_of(bucket, graph, kind) for rule in each.inputs["rules"]]
        yield bucket, _key_of_bucket(rules)
    for queue in graph.of_type("aws:sqs/queue:Queue"):
        own = DEFAULT if queue.inputs.get("sqsManagedSseEnabled") else None
        yield queue, queue.inputs.get("kmsMasterKeyId", own)
    for files in graph.of_type("aws:efs/fileSystem:FileSystem"):
        yield files, files.inputs.get("kmsKeyId", DEFAULT) if files.inputs.get("encrypted") else None
    for template in graph.of_type("aws:ec2/launchTemplate:LaunchTemplate"):
        disks = {each["deviceName"]: each["ebs"] for each in template.inputs.get("blockDeviceMappings", [])}
        for device in DISKS:
            disk = disks.get(device, {})
            yield template, disk.get("kmsKeyId", DEFAULT) if disk.get("encrypted") == "true" else None
    for repository in graph.of_type("aws:ecr/repository:Repository"):
        (how,) = repository.inputs.get("encryptionConfigurations", [{}])
        yield repository, how.get("kmsKey", DEFAULT)
    for token, place in ALWAYS_ENCRYPTED.items():
        for resource in graph.of_type(token):
            yield resource, resource.inputs.get(place, DEFAULT)


def _key_of_bucket(rules: list[dict[str, Any]]) -> str | None:
    match rules:
        case [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]:
            return DEFAULT
        case [
            {
                "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": str(key)},
                "bucketKeyEnabled": True,
            }
        ]:
            return key
    return None


def everything_is_encrypted(graph: Graph) -> Iterator[str]:
    """Nothing that keeps data keeps it in the clear."""
    for resource, key in stores(graph):
        if key is None:
            yield f"{label(resource)}: is not encrypted"


def one_key_encrypts_all(graph: Graph) -> Iterator[str]:
    """Where anything has a key of the stack's, everything has it."""
    keys = {key for _, key in stores(graph) if key is not None and key.startswith("arn:")}
    for resource, key in stores(graph):
        if keys and key is not None and {key} != keys:
            yield f"{label(resource)}: has {key}, and not {', '.join(keys)}"


def keys_are_looked_after(graph: Graph) -> Iterator[str]:
    """A key of the stack's own is made anew every year by KMS, which keeps the old ones to read with."""
    for key in graph.of_type("aws:kms/key:Key"):
        if not key.inputs.get("enableKeyRotation"):
            yield f"{label(key)}: is never rotated"


def writers(graph: Graph) -> Iterator[tuple[str, str]]:
    """Each service that writes in nobody's name, as a key's policy calls it, and the key that it needs."""
    kept = [(resource, key) for resource, key in stores(graph) if key is not None]
    keys = {resource.outputs.get("arn"): key for resource, key in kept}
    for target in graph.of_type("aws:cloudwatch/eventTarget:EventTarget"):
        for queue in (target.inputs["arn"], target.inputs["deadLetterConfig"]["arn"]):
            yield "Service:events.amazonaws.com", keys[queue]
    for group in graph.of_type("aws:cloudwatch/logGroup:LogGroup"):
        yield f"Service:logs.{REGION}.amazonaws.com", keys[group.outputs["arn"]]
    yield from ((SCALING, key) for resource, key in kept if resource.type.endswith(":LaunchTemplate"))
    for statement in statements(graph, "TopicPolicy"):
        for principal in statement.principals if statement.allow else ():
            yield principal, keys[statement.resources[0]]


def a_key_admits_who_writes_and_nobody_else(graph: Graph) -> Iterator[str]:
    """Each service that writes under a key of the stack's may, and no service may that does not."""
    needed = {(service, key) for service, key in writers(graph) if key.startswith("arn:")}
    for key in graph.of_type("aws:kms/key:Key"):
        arn = key.outputs["arn"]
        admitted = {
            SCALING if principal == "AWS:*" else principal: statement.only_if("aws:PrincipalArn")
            for statement in statements(graph, "Key")
            for principal in statement.principals
            if statement.of == key and statement.allows("kms:GenerateDataKey")
            if statement.allows("kms:Decrypt") and not principal.endswith(":root")
        }
        wrong = [of for of in admitted.get(SCALING, ()) if not of.endswith(f"/{SCALING}")]
        yield from (f"{label(key)}: admits {of}" for of in wrong)
        for service in {service for service, of in needed if of == arn} ^ admitted.keys():
            verb = "does not admit" if service not in admitted else "admits, for nothing,"
            yield f"{label(key)}: {verb} {service}"


NEEDS = {
    ("s3:GetObject", "s3"): ["kms:Decrypt"],
    ("s3:PutObject", "s3"): ["kms:Decrypt", "kms:GenerateDataKey"],
    ("sqs:ReceiveMessage", "sqs"): ["kms:Decrypt"],
    ("sqs:SendMessage", "sqs"): ["kms:Decrypt", "kms:GenerateDataKey"],
}
"""For each action on what KMS encrypts the service that asks KMS, and what for (S3 user guide, "Using
server-side encryption with AWS KMS keys"; SQS developer guide, "Configure KMS permissions")."""


def who_uses_what_is_encrypted_may(graph: Graph) -> Iterator[str]:
    """Whoever reads or writes there has the right to the key, through that service and in no other way."""
    keys = {key for _, key in stores(graph) if key is not None and key.startswith("arn:")}
    rights = statements(graph, "RolePolicy", "Policy")
    for statement in rights:
        if statement.allows("kms:Decrypt") and not statement.only_if("kms:ViaService"):
            yield f"{label(statement.of)}: may use the key for anything"
        for (action, service), needs in NEEDS.items():
            through = f"{service}.{REGION}.amazonaws.com"
            for key in keys if statement.allows(action) else ():
                for need in needs:
                    if not any(
                        other.allows(need) and key in other.resources
                        for other in rights
                        if other.of == statement.of and through in other.only_if("kms:ViaService")
                    ):
                        yield f"{label(statement.of)}: may {action}, and not {need} through {through}"


RULES = (
    everything_is_encrypted,
    one_key_encrypts_all,
    keys_are_looked_after,
    a_key_admits_who_writes_and_nobody_else,
    who_uses_what_is_encrypted_may,
)
