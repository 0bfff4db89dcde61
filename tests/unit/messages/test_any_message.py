"""What holds of any message: one job however it is told, and no reason that repeats its words."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.spec import Sampling
from runtime.worker.failures import DocumentFailure
from runtime.worker.keys import job_id
from runtime.worker.messages import Job, parse
from tests.unit.messages.forms import ETAG, job_message, notification, s3_event, s3_record

if TYPE_CHECKING:
    from pydantic import JsonValue

MARKER = "WORDS OF A DOCUMENT"
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
    event = s3_event(**uploaded)
    event["detail"]["bucket"]["name"] = bucket
    told: dict[str, Any] = {"size": size, "eTag": etag, "versionId": version or "null"}
    exact = [
        json.dumps(event),
        *(
            notification(s3_record(way, bucket, key=encoded, **told))
            for way in ("ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload")
            for encoded in (quote_plus(key), quote_plus(key, safe="/"), quote(key))
        ),
        job_message(document={"bucket": bucket, "key": key, "version": version, "etag": f'"{etag}"'}, **asks),
    ]
    assert {parse(body) for body in exact} == {(Job(bucket, key, version, etag),)}

    current = [
        job_message(document=f"s3://{bucket}/{key}", **asks),
        job_message(document={"bucket": bucket, "key": key}, **asks),
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


VALID: list[dict[str, Any]] = [
    s3_event(),
    {"Records": [s3_record(), s3_record("ObjectRemoved:Delete")]},
    json.loads(
        job_message(inputs={"a": ["b"]}, sampling={"seed": 7, "stop": ["x"]}, deadline="2031-05-09T16:00:00Z")
    ),
    json.loads(job_message(document={"bucket": "b", "key": "k", "version": "v", "etag": "e"})),
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
