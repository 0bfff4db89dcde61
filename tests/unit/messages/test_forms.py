"""Messages as AWS and people write them: which documents each names."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from runtime.spec import Sampling
from runtime.worker.messages import Job, parse
from tests.unit.messages.forms import BUCKET, ETAG, VERSION, job_message, notification, s3_event, s3_record


@pytest.mark.parametrize(
    ("changes", "version", "etag"),
    [
        ({}, VERSION, ETAG),
        ({"etag": f'"{ETAG}"'}, VERSION, ETAG),
        ({"version-id": "null"}, None, ETAG),
        ({"version-id": ""}, None, ETAG),
        ({"version-id": None}, None, ETAG),
        ({"etag": None, "size": None, "sequencer": None}, VERSION, ""),
        ({"version-id": None, "etag": None}, None, ""),
    ],
)
def test_an_event_names_a_version_of_a_document(
    changes: dict[str, Any], version: str | None, etag: str
) -> None:
    """The version is the event's own; a bucket without versions has none, which S3 writes as `null`."""
    assert parse(json.dumps(s3_event(**changes))) == (Job(BUCKET, "example-key", version, etag),)


@pytest.mark.parametrize("reason", ["PutObject", "POST Object", "CopyObject", "CompleteMultipartUpload"])
def test_an_object_may_be_created_in_any_way(reason: str) -> None:
    """A copy or a multipart upload is a document like any other."""
    assert parse(json.dumps(s3_event(reason=reason))) == (Job(BUCKET, "example-key", VERSION, ETAG),)


KEYS = ["a b.txt", "a+b.txt", "a%20b.txt", "ä/ö.txt", "%E4", "日本語/😀.txt", "/a//b", "a\x01b", "s3://x/y"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_only_a_notifications_key_is_decoded(*, key: str, ascii_only: bool) -> None:
    """S3 encodes keys as URLs in its own notifications only; everywhere else a percent sign is one."""
    literal = [s3_event(key=key), {"document": f"s3://b/{key}"}, {"document": {"bucket": "b", "key": key}}]
    for message in literal:
        (job,) = parse(json.dumps(message, ensure_ascii=ascii_only))
        assert job.key == key
    for encoded in (quote_plus(key), quote_plus(key, safe="/"), quote(key), quote(key, safe="")):
        (job,) = parse(json.dumps({"Records": [s3_record(key=encoded)]}, ensure_ascii=ascii_only))
        assert job.key == key


@pytest.mark.parametrize("prefix", ["", "s3:"])
@pytest.mark.parametrize("way", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
def test_a_notification_names_a_version_of_a_document(prefix: str, way: str) -> None:
    """However an object was created, its record names bucket, key, version and ETag."""
    job = Job("a.bucket", "example-key", VERSION, ETAG)
    assert parse(notification(s3_record(f"{prefix}ObjectCreated:{way}", "a.bucket"))) == (job,)


@pytest.mark.parametrize(
    ("changes", "version", "etag"),
    [
        ({"versionId": "null"}, None, ETAG),
        ({"versionId": None, "sequencer": None}, None, ETAG),
        ({"eTag": f'"{ETAG}-2"'}, VERSION, f"{ETAG}-2"),
        ({"eTag": None, "size": None}, VERSION, ""),
    ],
)
def test_a_notification_may_leave_out_what_s3_does_not_know(
    changes: dict[str, Any], version: str | None, etag: str
) -> None:
    """Version, ETag, size and sequencer are optional: moto and old event versions send less."""
    assert parse(notification(s3_record(**changes))) == (Job(BUCKET, "example-key", version, etag),)


def test_every_record_of_a_creation_is_a_job() -> None:
    """A notification of several records asks for each created document, in order, and for nothing else."""
    body = notification(
        s3_record(key="a.txt"),
        s3_record("ObjectRemoved:Delete", key="b.txt", versionId=None),
        s3_record("ObjectCreated:Copy", "other.bucket", key="c.txt", versionId="null"),
        s3_record("ObjectRestore:Completed", key="d.txt"),
        s3_record(key="folder/", size=0),
    )
    assert parse(body) == (Job(BUCKET, "a.txt", VERSION, ETAG), Job("other.bucket", "c.txt", None, ETAG))


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(
            {
                "Service": "Amazon S3",
                "Event": "s3:TestEvent",
                "Time": "2014-10-13T15:57:02.089Z",
                "Bucket": BUCKET,
                "RequestId": "5582815E1AEA5ADF",
                "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
            }
        ),
        json.dumps(s3_event(key="folder/", size=0)),
        notification(s3_record(key="some+folder%2F", size=0)),
        notification(s3_record("ObjectRemoved:Delete"), s3_record("s3:ObjectTagging:Put")),
    ],
)
def test_what_names_no_document_asks_for_nothing(body: str) -> None:
    """S3's test event, a folder marker and a removal are read, and there is nothing to do."""
    assert parse(body) == ()


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(s3_event(key="folder/", size=1)),
        json.dumps(s3_event(key="folder/", size=None)),
        notification(s3_record(key="folder%2F", size=1)),
        job_message(document={"bucket": BUCKET, "key": "folder/"}),
    ],
)
def test_an_object_with_content_is_no_folder(body: str) -> None:
    """A key may end in a slash; only an object known to be empty is a folder marker."""
    assert [job.key for job in parse(body)] == ["folder/"]


def test_an_empty_document_is_a_document() -> None:
    """An upload of nothing is answered for: by a failure of the document, not by silence."""
    assert parse(json.dumps(s3_event(size=0))) == (Job(BUCKET, "example-key", VERSION, ETAG),)


def test_a_job_message_says_how_to_answer() -> None:
    """Every field of a job message is in the job, its deadline in UTC."""
    body = job_message(
        document={"bucket": "b", "key": "k", "version": "v", "etag": '"e"'},
        inputs={"tone": "dry", "items": [1, 2.5, None, True, {"x": "y"}]},
        sampling={"temperature": 1, "seed": 7, "stop": ["a", "b"]},
        deadline="2031-05-09T16:00:00.25+02:00",
    )
    (job,) = parse(body)
    assert job == Job(
        "b",
        "k",
        "v",
        "e",
        {"tone": "dry", "items": [1, 2.5, None, True, {"x": "y"}]},
        Sampling(temperature=1.0, seed=7, stop=("a", "b")),
        datetime(2031, 5, 9, 14, 0, 0, 250_000, tzinfo=UTC),
    )
    assert job.deadline is not None
    assert job.deadline.tzinfo is UTC


def test_what_is_null_is_not_given() -> None:
    """Programs that write every field write null for those they have nothing for."""
    given = {"inputs": None, "sampling": {"seed": None}, "deadline": None}
    document = {"bucket": "b", "key": "k", "version": None}
    (job,) = parse(job_message(document=document, **given))
    assert (job, job.variation) == (Job("b", "k", None, ""), "")


@pytest.mark.parametrize(
    ("url", "bucket", "key"),
    [
        ("s3://a.b-c/k", "a.b-c", "k"),
        ("s3://b//k", "b", "/k"),
        ("s3://b/s3://c/k", "b", "s3://c/k"),
        ("s3://b/k?versionId=1#x", "b", "k?versionId=1#x"),
    ],
)
def test_a_documents_url_is_taken_literally(url: str, bucket: str, key: str) -> None:
    """All after the bucket is the key: S3 allows any character in it."""
    assert parse(job_message(document=url)) == (Job(bucket, key, None, ""),)


def test_a_variation_never_changes() -> None:
    """Job ids of earlier releases still find their results."""
    (job,) = parse(job_message(inputs={"tone": "dry"}, sampling={"seed": 7}))
    assert job.variation == "51499ed9049aa322c4bd36e63f8963287f534564da0700bc58bd2c50e5ce102c"


def test_offsets_are_one_time() -> None:
    """A deadline is the same moment wherever it was written."""
    at = datetime(2031, 5, 9, 16, 0, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    (job,) = parse(job_message(deadline=at.isoformat()))
    assert job.deadline == datetime(2031, 5, 9, 19, 30, tzinfo=UTC)
