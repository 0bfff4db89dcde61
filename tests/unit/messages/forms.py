"""The forms of messages, as AWS and people write them."""

from __future__ import annotations

import json
from typing import Any

BUCKET = "amzn-s3-demo-bucket1"
VERSION = "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
ETAG = "b1946ac92492d2347c6235b4d2611184"


def s3_event(
    detail_type: str = "Object Created", reason: str = "PutObject", **changes: object
) -> dict[str, Any]:
    """The example of the S3 user guide, "EventBridge event message structure"; None takes a field away."""
    uploaded = {
        "key": "example-key",
        "size": 5,
        "etag": ETAG,
        "version-id": VERSION,
        "sequencer": "617f08299329d189",
        **changes,
    }
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": [f"arn:aws:s3:::{BUCKET}"],
        "detail": {
            "version": "0",
            "bucket": {"name": BUCKET},
            "object": {name: value for name, value in uploaded.items() if value is not None},
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": reason,
        },
    }


def s3_record(
    event: str = "ObjectCreated:Put", bucket: str = BUCKET, **changes: str | int | None
) -> dict[str, Any]:
    """One record as the S3 user guide has it, "Event message structure"; None takes a field away."""
    uploaded = {
        "key": "example-key",
        "size": 5,
        "eTag": ETAG,
        "versionId": VERSION,
        "sequencer": "0055AED6DCD90281E5",
        **changes,
    }
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": event,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {name: value for name, value in uploaded.items() if value is not None},
        },
    }


def notification(*records: dict[str, Any]) -> str:
    """The body of S3's own notification of these records."""
    return json.dumps({"Records": records})


def job_message(**fields: object) -> str:
    """The body of a job message with these fields beside or instead of a document."""
    return json.dumps({"document": f"s3://{BUCKET}/a.txt", **fields})
