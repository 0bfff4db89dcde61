"""Messages as AWS and people write them, and everything else that may lie in a queue."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.spec import Sampling
from runtime.worker.failures import DocumentFailure
from runtime.worker.keys import job_id
from runtime.worker.messages import MAX_PROBLEMS, Job, parse

if TYPE_CHECKING:
    from pydantic import JsonValue

BUCKET = "amzn-s3-demo-bucket1"
VERSION = "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
ETAG = "b1946ac92492d2347c6235b4d2611184"
MARKER = "WORDS OF A DOCUMENT"
NO_JSON = "the message is no JSON: "


def _event(
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


def _record(
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


def _notification(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": records})


def _message(**fields: object) -> str:
    return json.dumps({"document": f"s3://{BUCKET}/a.txt", **fields})


def _problem(body: str) -> str:
    """What is said of a message that cannot be read."""
    with pytest.raises(DocumentFailure) as caught:
        parse(body)
    assert caught.value.reason == "unreadable_message"
    return caught.value.detail


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
    assert parse(json.dumps(_event(**changes))) == (Job(BUCKET, "example-key", version, etag),)


@pytest.mark.parametrize("reason", ["PutObject", "POST Object", "CopyObject", "CompleteMultipartUpload"])
def test_an_object_may_be_created_in_any_way(reason: str) -> None:
    """A copy or a multipart upload is a document like any other."""
    assert parse(json.dumps(_event(reason=reason))) == (Job(BUCKET, "example-key", VERSION, ETAG),)


KEYS = ["a b.txt", "a+b.txt", "a%20b.txt", "ä/ö.txt", "%E4", "日本語/😀.txt", "/a//b", "a\x01b", "s3://x/y"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_only_a_notifications_key_is_decoded(*, key: str, ascii_only: bool) -> None:
    """S3 encodes keys as URLs in its own notifications only; everywhere else a percent sign is one."""
    literal = [_event(key=key), {"document": f"s3://b/{key}"}, {"document": {"bucket": "b", "key": key}}]
    for message in literal:
        (job,) = parse(json.dumps(message, ensure_ascii=ascii_only))
        assert job.key == key
    for encoded in (quote_plus(key), quote_plus(key, safe="/"), quote(key), quote(key, safe="")):
        (job,) = parse(json.dumps({"Records": [_record(key=encoded)]}, ensure_ascii=ascii_only))
        assert job.key == key


@pytest.mark.parametrize("prefix", ["", "s3:"])
@pytest.mark.parametrize("way", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
def test_a_notification_names_a_version_of_a_document(prefix: str, way: str) -> None:
    """However an object was created, its record names bucket, key, version and ETag."""
    job = Job("a.bucket", "example-key", VERSION, ETAG)
    assert parse(_notification(_record(f"{prefix}ObjectCreated:{way}", "a.bucket"))) == (job,)


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
    assert parse(_notification(_record(**changes))) == (Job(BUCKET, "example-key", version, etag),)


def test_every_record_of_a_creation_is_a_job() -> None:
    """A notification of several records asks for each created document, in order, and for nothing else."""
    body = _notification(
        _record(key="a.txt"),
        _record("ObjectRemoved:Delete", key="b.txt", versionId=None),
        _record("ObjectCreated:Copy", "other.bucket", key="c.txt", versionId="null"),
        _record("ObjectRestore:Completed", key="d.txt"),
        _record(key="folder/", size=0),
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
        json.dumps(_event(key="folder/", size=0)),
        _notification(_record(key="some+folder%2F", size=0)),
        _notification(_record("ObjectRemoved:Delete"), _record("s3:ObjectTagging:Put")),
    ],
)
def test_what_names_no_document_asks_for_nothing(body: str) -> None:
    """S3's test event, a folder marker and a removal are read, and there is nothing to do."""
    assert parse(body) == ()


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(_event(key="folder/", size=1)),
        json.dumps(_event(key="folder/", size=None)),
        _notification(_record(key="folder%2F", size=1)),
        _message(document={"bucket": BUCKET, "key": "folder/"}),
    ],
)
def test_an_object_with_content_is_no_folder(body: str) -> None:
    """A key may end in a slash; only an object known to be empty is a folder marker."""
    assert [job.key for job in parse(body)] == ["folder/"]


def test_an_empty_document_is_a_document() -> None:
    """An upload of nothing is answered for: by a failure of the document, not by silence."""
    assert parse(json.dumps(_event(size=0))) == (Job(BUCKET, "example-key", VERSION, ETAG),)


def test_a_job_message_says_how_to_answer() -> None:
    """Every field of a job message is in the job, its deadline in UTC."""
    body = _message(
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
    (job,) = parse(_message(document=document, **given))
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
    assert parse(_message(document=url)) == (Job(bucket, key, None, ""),)


LATE = "deadline: should be ISO 8601 text with an offset, such as 2031-05-09T16:00:00Z"
NO_URL = "document: should be s3://bucket/key or an object with bucket, key, version and etag"
NO_SAMPLING = (
    "a document may vary nothing but temperature, top_k, top_p, min_p, seed, repeat_last_n, "
    "repeat_penalty, presence_penalty, frequency_penalty, stop; "
    "runner options such as num_ctx would reload the model under the other documents"
)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (_message(document="https://b/k"), NO_URL),
        (_message(document="s3://b"), NO_URL),
        (_message(document="s3:///k"), NO_URL),
        (_message(document=5), "document: Input should be an object"),
        (
            _message(document={"bucket": "", "Key": "k"}),
            (
                "document.bucket: String should have at least 1 character; document.key: Field required; "
                "document.Key: there is no such field"
            ),
        ),
        (_message(input={"a": 1}), "input: there is no such field"),
        (_message(inputs=[1]), "inputs: Input should be an object"),
        (_message(sampling={"num_ctx": 4096}), f"sampling.num_ctx: {NO_SAMPLING}"),
        (_message(sampling={"num_predict": 5}), f"sampling.num_predict: {NO_SAMPLING}"),
        (_message(sampling={"temprature": 1}), f"sampling.temprature: {NO_SAMPLING}"),
        (_message(sampling={"seed": True}), "sampling.seed: Input should be a valid integer"),
        (
            _message(sampling={"top_p": 2, "temperature": "0.5"}),
            (
                "sampling.temperature: Input should be a valid number; "
                "sampling.top_p: Input should be less than or equal to 1"
            ),
        ),
        (_message(deadline=1_700_000_000), LATE),
        (_message(deadline="1700000000"), LATE),
        (_message(deadline="2031-05-09"), LATE),
        (_message(deadline="2031-05-09T16:00:00"), LATE),
        (_message(deadline="soon"), LATE),
        (_message(deadline="0001-01-01T00:00:00+23:59"), LATE),
    ],
)
def test_a_job_messages_problems_are_named(body: str, found: str) -> None:
    """What is wrong in a job message is said with its path and what would be right, all of it at once."""
    assert _problem(body) == f"the message is no job message ({found})"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            json.dumps({"detail-type": "Object Created"}),
            (
                "S3 event by EventBridge (source: Field required; detail.bucket.name: Field required; "
                "detail.object.key: Field required)"
            ),
        ),
        (
            json.dumps(_event(key="", size="5")),
            (
                "S3 event by EventBridge (detail.object.key: String should have at least 1 character; "
                "detail.object.size: Input should be a valid integer)"
            ),
        ),
        (
            json.dumps({**_event(), "source": "aws.ec2"}),
            "S3 event by EventBridge (source: Input should be 'aws.s3')",
        ),
        (
            json.dumps(_event("Object Deleted")),
            (
                "S3 event by EventBridge "
                "(detail-type: should be 'Object Created', 'Object Deleted' asks for no answer)"
            ),
        ),
        (
            _notification(),
            "S3 notification (Records: List should have at least 1 item after validation, not 0)",
        ),
        (
            _notification(_record(), _record(key=None), {**_record(), "eventSource": "aws:dynamodb"}),
            (
                "S3 notification (Records.1.s3.object.key: Field required; "
                "Records.2.eventSource: Input should be 'aws:s3')"
            ),
        ),
        (
            _notification(_record(key="%E4.txt")),
            (
                "S3 notification (Records.0.s3.object.key: "
                "'utf-8' codec can't decode byte 0xe4 in position 0: invalid continuation byte)"
            ),
        ),
    ],
)
def test_an_events_problems_are_named(body: str, found: str) -> None:
    """An event that nobody can follow is no document's, and none of it is guessed."""
    assert _problem(body) == f"the message is no {found}"


@pytest.mark.parametrize("body", ["null", "[]", '"s3://b/k"', "5", "{}", '{"Event": "s3:Test"}'])
def test_what_is_of_no_form_is_told_the_forms(body: str) -> None:
    """A message of no known form is answered with what each form is known by."""
    assert _problem(body) == (
        "the message is no S3 event by EventBridge (which has `detail-type`), "
        "no S3 notification (which has `Records`), no job message (which has `document`)"
    )


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("", f"{NO_JSON}Expecting value: line 1 column 1 (char 0)"),
        ("\ufeff{}", f"{NO_JSON}Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)"),
        ('{"document": "s3://b/a", "document": "s3://b/b"}', f"{NO_JSON}an object has a field twice"),
        (_message(inputs={"a": float("nan")}), f"{NO_JSON}Out of range float values are not JSON compliant"),
        (
            _message(inputs={"a": 1})[:-2] + "e999}}",
            f"{NO_JSON}Out of range float values are not JSON compliant",
        ),
        (
            '{"document": "s3://b/\\ud800"}',
            f"{NO_JSON}'utf-8' codec can't encode character '\\ud800' in position 21: surrogates not allowed",
        ),
        (
            "[" * 100_000,
            f"{NO_JSON}maximum recursion depth exceeded while decoding a JSON array from a unicode string",
        ),
        (
            '{"document": "s3://b/k", "inputs": {"a": ' + "[" * 300 + "]" * 300 + "}}",
            (
                "the message is no job message "
                "(body: Invalid JSON: recursion limit exceeded at line 1 column 241)"
            ),
        ),
    ],
    ids=["empty", "byte order mark", "twice", "NaN", "1e999", "surrogate", "deep", "deep inputs"],
)
def test_what_is_no_json_is_refused(body: str, found: str) -> None:
    """What two readers would read in two ways, or one reader not at all, is not guessed at."""
    assert _problem(body) == found


def test_a_number_too_long_to_be_read_is_refused() -> None:
    """Python reads 4,300 digits at most, so that nobody can keep it busy."""
    assert _problem("1" * 5000).startswith(f"{NO_JSON}Exceeds the limit (4300 digits)")


@pytest.mark.parametrize("body", [None, 5, b"\xff"])
def test_what_is_no_text_is_refused(body: object) -> None:
    """Even a caller's slip is a failure with a class."""
    assert _problem(cast("str", body)).startswith(NO_JSON)


def test_problems_are_counted_where_they_are_too_many() -> None:
    """A dead letter's attribute stays small: names are escaped and cut, problems beyond twenty counted."""
    names = [f"{index:02}\0" + "x" * 100 for index in range(MAX_PROBLEMS + 5)]
    found = [f"{index:02}\\x00{'x' * 54}: there is no such field" for index in range(MAX_PROBLEMS)]
    assert _problem(_message(**dict.fromkeys(names))) == (
        f"the message is no job message ({'; '.join(found)}; and 5 more)"
    )


JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
# S3's keys are UTF-8: any character but halves of one.
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
KEY = TEXT | st.text(alphabet="aä /+%2F?#&=:\\\"'~\n😀", min_size=1, max_size=30)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{1,20}[a-z0-9]", fullmatch=True)
VERSIONS = st.none() | st.text(alphabet="abcXYZ019._-", min_size=1, max_size=32).filter(lambda v: v != "null")
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 5),
    seed=st.none() | st.integers(0, 2**32 - 2),
    stop=st.none() | st.lists(TEXT.filter(bool), max_size=2).map(tuple),
)
JOBS = st.builds(
    Job,
    bucket=NAMES,
    key=KEY,
    version=VERSIONS,
    etag=st.sampled_from(["", ETAG]),
    inputs=st.dictionaries(TEXT, JSON, max_size=3),
    sampling=SAMPLINGS,
    deadline=st.none()
    | st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
)


@given(JOBS)
def test_a_job_survives_being_sent(job: Job) -> None:
    """A job written as a message and read again is the same job, and its text is ASCII, which SQS takes."""
    assert job.body().isascii()
    assert parse(job.body()) == (job,)
    assert parse(job.body())[0].variation == job.variation


@given(
    bucket=NAMES,
    key=KEY,
    version=VERSIONS,
    etag=st.sampled_from([ETAG, f"{ETAG}-2"]),
    size=st.integers(1, 10**12),
    asks=st.fixed_dictionaries({}, optional={"inputs": st.just({}), "sampling": st.just({})}),
)
def test_all_forms_of_one_upload_are_one_job(  # noqa: PLR0913
    *, bucket: str, key: str, version: str | None, etag: str, size: int, asks: dict[str, object]
) -> None:
    """EventBridge, S3 and a person tell of one upload: whoever is heard first, the job id is the same."""
    uploaded: dict[str, Any] = {"key": key, "etag": etag, "size": size, "version-id": version}
    event = _event(**uploaded)
    event["detail"]["bucket"]["name"] = bucket
    told: dict[str, Any] = {"size": size, "eTag": etag, "versionId": version or "null"}
    exact = [
        json.dumps(event),
        *(
            _notification(_record(way, bucket, key=encoded, **told))
            for way in ("ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload")
            for encoded in (quote_plus(key), quote_plus(key, safe="/"), quote(key))
        ),
        _message(document={"bucket": bucket, "key": key, "version": version, "etag": f'"{etag}"'}, **asks),
    ]
    assert {parse(body) for body in exact} == {(Job(bucket, key, version, etag),)}

    current = [
        _message(document=f"s3://{bucket}/{key}", **asks),
        _message(document={"bucket": bucket, "key": key}, **asks),
    ]
    assert {parse(body) for body in current} == {(Job(bucket, key, None, ""),)}

    # S3 answers a request without a version by the current one, and says which: the upload's.
    of_s3 = version or etag
    jobs = [job for body in exact + current for job in parse(body)]
    assert {(job_id(job.bucket, job.key, of_s3, "task"), job.variation) for job in jobs} == {
        (job_id(bucket, key, of_s3, "task"), "")
    }


def _reordered(value: object) -> object:
    """The same JSON with the fields of every object in reverse."""
    if isinstance(value, dict):
        return {name: _reordered(inner) for name, inner in reversed(value.items())}
    return [_reordered(inner) for inner in value] if isinstance(value, list) else value


@given(JOBS)
def test_a_variation_is_independent_of_order(job: Job) -> None:
    """The order in which somebody's program writes fields makes no other job."""
    (other,) = parse(json.dumps(_reordered(json.loads(job.body()))))
    assert other.variation == job.variation


@given(JOBS, JOBS)
def test_a_variation_tells_jobs_apart(one: Job, other: Job) -> None:
    """Jobs of a document vary exactly where inputs or sampling do; version and deadline are no variation."""

    def asked(job: Job) -> str:
        return json.dumps([job.inputs, job.sampling.model_dump(exclude_none=True)], sort_keys=True)

    assert (one.variation == other.variation) == (asked(one) == asked(other))
    assert (one.variation == "") == (asked(one) == "[{}, {}]")


def test_a_variation_never_changes() -> None:
    """Job ids of earlier releases still find their results."""
    (job,) = parse(_message(inputs={"tone": "dry"}, sampling={"seed": 7}))
    assert job.variation == "51499ed9049aa322c4bd36e63f8963287f534564da0700bc58bd2c50e5ce102c"


VALID: list[dict[str, Any]] = [
    _event(),
    {"Records": [_record(), _record("ObjectRemoved:Delete")]},
    json.loads(
        _message(inputs={"a": ["b"]}, sampling={"seed": 7, "stop": ["x"]}, deadline="2031-05-09T16:00:00Z")
    ),
    json.loads(_message(document={"bucket": "b", "key": "k", "version": "v", "etag": "e"})),
]

Path = tuple[str | int, ...]


def _paths(value: object) -> list[Path]:
    """The paths to all that lies within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for name, below in inner for path in [(name,), *((name, *rest) for rest in _paths(below))]]


PLACES = [(message, path) for message in VALID for path in _paths(message)]


def _changed(message: dict[str, Any], path: Path, value: object = ..., name: str | None = None) -> str:
    """The message with another value, another name or nothing at a path."""
    changed = copy.deepcopy(message)
    *above, last = path
    parent: Any = changed
    for step in above:
        parent = parent[step]
    old = parent.pop(last)
    if isinstance(parent, list):
        parent.insert(int(last), old if value is ... else value)
    elif value is not ... or name is not None:
        parent[last if name is None else name] = old if value is ... else value
    return json.dumps(changed)


def _read(body: str) -> tuple[Job, ...] | str:
    """What a message asks for, or what is said of it."""
    try:
        return parse(body)
    except DocumentFailure as failure:
        return failure.detail


@given(
    st.text()
    | st.binary().map(lambda content: content.decode("latin-1"))
    | JSON.map(json.dumps)
    | st.builds(
        lambda place, value, name: _changed(place[0], place[1], value, name),
        st.sampled_from(PLACES),
        st.just(...) | JSON | st.floats() | st.text(st.characters()),
        st.none() | st.text(max_size=8),
    )
    | st.builds(
        lambda message, cut, noise: json.dumps(message)[:cut] + noise + json.dumps(message)[cut:],
        st.sampled_from(VALID),
        st.integers(0, 400),
        st.text(max_size=3),
    )
)
def test_any_text_is_jobs_or_a_failure_of_its_own(body: str) -> None:
    """No message ends a worker: it names documents, or it is dead-lettered with a reason fit to print."""
    found = _read(body)
    if isinstance(found, str):
        assert found.isprintable()
        return
    for job in found:
        assert job.bucket
        assert job.key.encode()
        assert parse(job.body()) == (job,)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place[1])))
@pytest.mark.parametrize("marker", [MARKER, [MARKER], {"a": MARKER}, -1])
def test_a_failure_repeats_no_value(place: tuple[dict[str, Any], Path], marker: object) -> None:
    """Inputs may be words of a document, so no reason repeats what a message holds, but for a detail type."""
    message, path = place
    words = {"inputs": {"a": [MARKER]}, "other": MARKER} if "document" in message else {}
    found = _read(_changed(message | words, path, marker))
    if isinstance(found, str) and path != ("detail-type",):
        assert MARKER not in found


def test_offsets_are_one_time() -> None:
    """A deadline is the same moment wherever it was written."""
    at = datetime(2031, 5, 9, 16, 0, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    (job,) = parse(_message(deadline=at.isoformat()))
    assert job.deadline == datetime(2031, 5, 9, 19, 30, tzinfo=UTC)
