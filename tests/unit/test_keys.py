"""Keys of results and records: within S3's limit, and never two things under one."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.worker.keys import job_id, record_key, records_prefix, result_key
from runtime.worker.records import attempt_id

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_KEY_BYTES = 1024
"""S3 user guide, "Naming Amazon S3 objects"."""

JOB = "0123456789abcdef" * 4
ATTEMPT = attempt_id(datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC))

KEYS = st.text(alphabet="a/ ~é€😀", min_size=1, max_size=MAX_KEY_BYTES).map(
    lambda text: text.encode()[:MAX_KEY_BYTES].decode(errors="ignore")
)
LONG_KEYS = KEYS.map(lambda key: (key * MAX_KEY_BYTES).encode()[:MAX_KEY_BYTES].decode(errors="ignore"))
JOBS = st.binary(max_size=3).map(lambda seed: hashlib.sha256(seed).hexdigest())


@given(KEYS | LONG_KEYS, JOBS)
def test_every_key_fits_s3(key: str, job: str) -> None:
    """Any document that S3 holds has a result and records that S3 takes: 1,024 bytes of UTF-8 at most."""
    result, record = result_key(key, job), record_key(key, job, ATTEMPT)
    assert len(result.encode()) <= MAX_KEY_BYTES
    assert len(record.encode()) <= MAX_KEY_BYTES
    assert result.endswith(f"/{job}.txt")
    assert record.startswith("records/")
    assert record == f"{records_prefix(key, job)}{ATTEMPT}.json"


@pytest.mark.parametrize(
    ("make", "whole_bytes"),
    [
        (lambda key: result_key(key, JOB), 1024 - len(f"/{JOB}.txt")),
        (lambda key: records_prefix(key, JOB), 1024 - len(f"records//{JOB}/") - 48),
    ],
    ids=["result", "record"],
)
@pytest.mark.parametrize("last", ["a", "é", "€", "😀"])
def test_a_document_is_cut_only_where_it_has_to_be(
    make: Callable[[str], str], whole_bytes: int, last: str
) -> None:
    """What fits stays whole; one byte more, and the end gives way to 16 digits of a hash."""
    fits = "a" * (whole_bytes - len(last.encode())) + last
    assert make(fits) == make("DOCUMENT").replace("DOCUMENT", fits)
    longer = f"a{fits}"
    digest = hashlib.sha256(longer.encode()).hexdigest()[:16]
    assert make(longer) == make("DOCUMENT").replace("DOCUMENT", f"{'a' * (whole_bytes - 17)}~{digest}")


def test_a_cut_never_splits_a_character() -> None:
    """Bytes of a character that does not fit whole are left out; the key is so much shorter."""
    key = "😀" * 256
    assert result_key(key, JOB).startswith("😀" * 234 + "~")
    assert len(result_key(key, JOB).encode()) == 1024 - 2


@given(LONG_KEYS, st.text("ab", min_size=1, max_size=3), st.text("ab", min_size=1, max_size=3), JOBS)
def test_documents_that_differ_have_keys_that_differ(start: str, one: str, other: str, job: str) -> None:
    """Also where they differ only in what is cut off, and even within one job."""
    first, second = (
        (start.encode()[: MAX_KEY_BYTES - 3].decode(errors="ignore")) + end for end in (one, other)
    )
    assert (result_key(first, job) == result_key(second, job)) == (one == other)
    assert (record_key(first, job, ATTEMPT) == record_key(second, job, ATTEMPT)) == (one == other)


@given(KEYS | LONG_KEYS, JOBS, JOBS)
def test_jobs_that_differ_have_keys_that_differ(key: str, one: str, other: str) -> None:
    """A new version of document or task never meets the result of an old one."""
    assert (result_key(key, one) == result_key(key, other)) == (one == other)
    assert (records_prefix(key, one) == records_prefix(key, other)) == (one == other)


PARTS = st.tuples(*4 * [st.text(alphabet='a\n",[] ', max_size=3)])


@given(PARTS, PARTS)
def test_a_job_is_told_by_all_of_its_parts(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Bucket, key, version and task: none runs into the next, whatever line ends and quotes they hold."""
    assert (job_id(*one) == job_id(*other)) == (one == other)


def test_what_runs_together_is_another_job() -> None:
    """The same characters, parted elsewhere, are another document."""
    parts = [("a\nb", "c", "d", "e"), ("a", "b\nc", "d", "e"), ("a", "b", "c\nd", "e"), ("ab", "", "cd", "e")]
    assert len({job_id(*each) for each in parts}) == len(parts)


def test_attempts_sort_by_time() -> None:
    """A listing of a job's records is in the order of its attempts."""
    times = [datetime(2026, 1, 2, 3, 4, 5, micro, tzinfo=UTC) for micro in (0, 9, 10, 999_999)]
    times.append(datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC))
    attempts = [attempt_id(time) for time in times]
    assert attempts == sorted(attempts)
