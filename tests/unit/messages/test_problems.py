"""Everything else that may lie in a queue: what is said of it."""

from __future__ import annotations

import json
from typing import cast

import pytest

from runtime.worker.failures import DocumentFailure
from runtime.worker.messages import MAX_PROBLEMS, parse
from tests.unit.messages.forms import job_message, notification, s3_event, s3_record

NO_JSON = "the message is no JSON: "


def _problem(body: str) -> str:
    """What is said of a message that cannot be read."""
    with pytest.raises(DocumentFailure) as caught:
        parse(body)
    assert caught.value.reason == "unreadable_message"
    return caught.value.detail


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
        (job_message(document="https://b/k"), NO_URL),
        (job_message(document="s3://b"), NO_URL),
        (job_message(document="s3:///k"), NO_URL),
        (job_message(document=5), "document: Input should be an object"),
        (
            job_message(document={"bucket": "", "Key": "k"}),
            (
                "document.bucket: String should have at least 1 character; document.key: Field required; "
                "document.Key: there is no such field"
            ),
        ),
        (job_message(input={"a": 1}), "input: there is no such field"),
        (job_message(inputs=[1]), "inputs: Input should be an object"),
        (job_message(sampling={"num_ctx": 4096}), f"sampling.num_ctx: {NO_SAMPLING}"),
        (job_message(sampling={"num_predict": 5}), f"sampling.num_predict: {NO_SAMPLING}"),
        (job_message(sampling={"temprature": 1}), f"sampling.temprature: {NO_SAMPLING}"),
        (job_message(sampling={"seed": True}), "sampling.seed: Input should be a valid integer"),
        (
            job_message(sampling={"top_p": 2, "temperature": "0.5"}),
            (
                "sampling.temperature: Input should be a valid number; "
                "sampling.top_p: Input should be less than or equal to 1"
            ),
        ),
        (job_message(deadline=1_700_000_000), LATE),
        (job_message(deadline="1700000000"), LATE),
        (job_message(deadline="2031-05-09"), LATE),
        (job_message(deadline="2031-05-09T16:00:00"), LATE),
        (job_message(deadline="soon"), LATE),
        (job_message(deadline="0001-01-01T00:00:00+23:59"), LATE),
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
            json.dumps(s3_event(key="", size="5")),
            (
                "S3 event by EventBridge (detail.object.key: String should have at least 1 character; "
                "detail.object.size: Input should be a valid integer)"
            ),
        ),
        (
            json.dumps({**s3_event(), "source": "aws.ec2"}),
            "S3 event by EventBridge (source: Input should be 'aws.s3')",
        ),
        (
            json.dumps(s3_event("Object Deleted")),
            (
                "S3 event by EventBridge "
                "(detail-type: should be 'Object Created', 'Object Deleted' asks for no answer)"
            ),
        ),
        (
            notification(),
            "S3 notification (Records: List should have at least 1 item after validation, not 0)",
        ),
        (
            notification(s3_record(), s3_record(key=None), {**s3_record(), "eventSource": "aws:dynamodb"}),
            (
                "S3 notification (Records.1.s3.object.key: Field required; "
                "Records.2.eventSource: Input should be 'aws:s3')"
            ),
        ),
        (
            notification(s3_record(key="%E4.txt")),
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
        (
            job_message(inputs={"a": float("nan")}),
            f"{NO_JSON}Out of range float values are not JSON compliant",
        ),
        (
            job_message(inputs={"a": 1})[:-2] + "e999}}",
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
    assert _problem(job_message(**dict.fromkeys(names))) == (
        f"the message is no job message ({'; '.join(found)}; and 5 more)"
    )
