"""The two buckets: how they keep what is in them, what they forget, and who else gets at it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import evaluate
from tests.graph.stacks import DEV, KEY, graph_of

if TYPE_CHECKING:
    from cli.graph import Graph

LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
BUCKETS = ("documents", "results")
DOCUMENTS, RESULTS = "arn:aws:s3:::documents-graph", "arn:aws:s3:::results-graph"
MADE_KEY = "arn:aws:kms:eu-central-1:123456789012:key/encryption"


def _rules(graph: Graph, bucket: str) -> list[dict[str, Any]]:
    return graph.one(LIFECYCLE, bucket).inputs["rules"]


def _policy(graph: Graph, name: str) -> list[dict[str, Any]]:
    return json.loads(graph.one("aws:iam/policy:Policy", name).inputs["policy"])["Statement"]


@pytest.mark.parametrize(
    ("changes", "days", "expire_days"),
    [({}, 30, None), ({"logRetentionDays": 90}, 90, None), ({"expireDays": 7}, 30, 7)],
)
@pytest.mark.parametrize("bucket", BUCKETS)
def test_nothing_current_expires_unasked(
    bucket: str, changes: dict[str, Any], days: int, expire_days: int | None
) -> None:
    """Both buckets alike: abandoned uploads and old versions go; current ones where the stack says when."""
    everything = {"status": "Enabled", "filter": {}}
    rules = [
        {
            "id": "abandoned-uploads",
            "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
            **everything,
        },
        {
            "id": "old-versions",
            "noncurrentVersionExpiration": {"noncurrentDays": days},
            "expiration": {"expiredObjectDeleteMarker": True},
            **everything,
        },
    ]
    if expire_days is not None:
        rules.append({"id": "expired", "expiration": {"days": expire_days}, **everything})
    assert _rules(evaluate(DEV, changes), bucket) == rules


@pytest.mark.parametrize(
    ("stack", "how"),
    [
        ("dev", {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}),
        *(
            (
                stack,
                {
                    "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key},
                    "bucketKeyEnabled": True,
                },
            )
            for stack, key in (("own key", KEY), ("production", MADE_KEY))
        ),
    ],
)
@pytest.mark.parametrize("bucket", BUCKETS)
def test_objects_are_encrypted_as_the_stack_says(bucket: str, stack: str, how: dict[str, Any]) -> None:
    """By S3, by a key that is given, or by one that is made; a key of the bucket spares requests to KMS."""
    assert graph_of(stack).one(ENCRYPTION, bucket).inputs["rules"] == [how]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_keeps_versions_and_tells_of_every_object(dev: Graph, bucket: str) -> None:
    """The rules of any number of models may watch it."""
    versioning = dev.one("aws:s3/bucketVersioning:BucketVersioning", bucket)
    assert versioning.inputs["versioningConfiguration"] == {"status": "Enabled"}
    notification = dev.one("aws:s3/bucketNotification:BucketNotification", bucket)
    assert notification.inputs == {"bucket": f"{bucket}-graph", "eventbridge": True}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_rules_of_old_versions_come_after_versions(dev: Graph, bucket: str) -> None:
    """S3 takes them for a bucket that has versions."""
    versioning = dev.one("aws:s3/bucketVersioning:BucketVersioning", bucket)
    assert versioning.urn in dev.one(LIFECYCLE, bucket).dependencies


def test_uploaders_put_documents_and_nothing_else() -> None:
    """For each model that takes documents; one that takes results of another gets them from its worker."""
    assert _policy(graph_of("chained"), "uploaders") == [
        {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"{DOCUMENTS}/transcribe/*"]}
    ]


def test_readers_get_results_and_dead_letters() -> None:
    """They take none away, and see no document."""
    queue = "arn:aws:sqs:eu-central-1:123456789012"
    letters = [f"{queue}:{model}-dead-letter-graph" for model in ("summarize", "extract")]
    assert _policy(graph_of("dev"), "readers") == [
        {"Effect": "Allow", "Action": actions, "Resource": resources}
        for actions, resources in (
            (["s3:GetObject", "s3:GetObjectVersion"], [f"{RESULTS}/*"]),
            (["s3:ListBucket"], [RESULTS]),
            (["sqs:ReceiveMessage", "sqs:GetQueueAttributes"], letters),
        )
    ]


def test_both_may_use_the_key_for_that() -> None:
    """Through S3, and the readers through SQS too."""
    rights = {name: _policy(graph_of("production"), name)[-1] for name in ("uploaders", "readers")}
    assert rights == {
        name: {
            "Effect": "Allow",
            "Action": actions,
            "Resource": [MADE_KEY],
            "Condition": {
                "StringEquals": {"kms:ViaService": [f"{each}.eu-central-1.amazonaws.com" for each in through]}
            },
        }
        for name, actions, through in (
            ("uploaders", ["kms:GenerateDataKey", "kms:Decrypt"], ["s3"]),
            ("readers", ["kms:Decrypt"], ["s3", "sqs"]),
        )
    }


def test_both_are_known_by_the_stacks_outputs(dev: Graph) -> None:
    """Whoever attaches them finds their ARNs there."""
    policies = {each.name: each.outputs["arn"] for each in dev.of_type("aws:iam/policy:Policy")}
    assert {name: dev.exports[name] for name in ("uploaders", "readers")} == policies
