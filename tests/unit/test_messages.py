"""Messages as EventBridge writes them, and everything else that may lie in a queue."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.worker.failures import DocumentFailure
from runtime.worker.messages import DocumentReference, parse

VERSION = "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
ETAG = "b1946ac92492d2347c6235b4d2611184"


def _event(**changes: object) -> dict[str, Any]:
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
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
        "detail": {
            "version": "0",
            "bucket": {"name": "amzn-s3-demo-bucket1"},
            "object": {name: value for name, value in uploaded.items() if value is not None},
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject",
        },
    }


@pytest.mark.parametrize(
    ("changes", "version", "etag"),
    [
        ({}, VERSION, ETAG),
        ({"etag": f'"{ETAG}"'}, VERSION, ETAG),
        ({"version-id": "null"}, None, ETAG),
        ({"version-id": None}, None, ETAG),
        ({"etag": None}, VERSION, ""),
        ({"version-id": None, "etag": None}, None, ""),
    ],
)
def test_an_event_names_a_version_of_a_document(
    changes: dict[str, object], version: str | None, etag: str
) -> None:
    """The version is the event's own; a bucket without versions has none, which S3 writes as `null`."""
    expected = DocumentReference("amzn-s3-demo-bucket1", "example-key", version, etag)
    assert parse(json.dumps(_event(**changes))) == expected


@pytest.mark.parametrize("key", ["a b.txt", "a+b.txt", "a%20b.txt", "ä/ö.txt", "%E4", "日本語/😀.txt"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_key_is_taken_as_it_stands(*, key: str, ascii_only: bool) -> None:
    """EventBridge does not encode keys as URLs, so there is nothing to decode."""
    assert parse(json.dumps(_event(key=key), ensure_ascii=ascii_only)).key == key


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("", "body: Invalid JSON: EOF while parsing a value at line 1 column 0"),
        ("[]", "body: Input should be an object"),
        ("{}", "source: Field required; detail-type: Field required; detail: Field required"),
        (json.dumps(_event(key=None)), "detail.object.key: Field required"),
        (json.dumps({**_event(), "source": "aws.ec2"}), "source: Input should be 'aws.s3'"),
        (
            json.dumps({**_event(), "detail-type": "Object Deleted"}),
            "detail-type: Input should be 'Object Created'",
        ),
    ],
)
def test_what_is_no_event_is_a_document_failure(body: str, found: str) -> None:
    """The failure says what is missing or wrong in it, and repeats nothing of its content."""
    with pytest.raises(DocumentFailure) as caught:
        parse(body)
    assert (caught.value.reason, caught.value.detail) == (
        "unreadable_message",
        f"the message is no S3 event by EventBridge ({found})",
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.builds(
    lambda top, detail, uploaded: {**_event(**uploaded), **top} | ({"detail": detail} if detail else {}),
    top=st.dictionaries(st.sampled_from(["source", "detail-type"]), JSON, max_size=1),
    detail=st.dictionaries(st.sampled_from(["bucket", "object"]), JSON),
    uploaded=st.dictionaries(st.sampled_from(["key", "etag", "version-id"]), JSON),
)


@given(st.text() | JSON.map(json.dumps) | EVENTS.map(json.dumps))
def test_any_text_is_a_document_or_a_failure_of_its_own(body: str) -> None:
    """No message ends a worker: it names a document, or it is dead-lettered with a reason."""
    with contextlib.suppress(DocumentFailure):
        assert isinstance(parse(body), DocumentReference)
