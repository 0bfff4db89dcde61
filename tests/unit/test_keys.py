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
SUFFIXES = st.sampled_from([".txt", ".json"])


@given(KEYS | LONG_KEYS, JOBS, SUFFIXES)
def test_every_key_fits_s3(key: str, job: str, suffix: str) -> None:
    """Any document that S3 holds has a result and records that S3 takes: 1,024 bytes of UTF-8 at most."""
    result, record = result_key(key, job, suffix), record_key(key, job, ATTEMPT)
    assert len(result.encode()) <= MAX_KEY_BYTES
    assert len(record.encode()) <= MAX_KEY_BYTES
    assert result.endswith(f"/{job}{suffix}")
    assert record.startswith("records/")
    assert record == f"{records_prefix(key, job)}{ATTEMPT}.json"


@pytest.mark.parametrize(
    ("make", "whole_bytes"),
    [
        (lambda key: result_key(key, JOB, ".txt"), 1024 - len(f"/{JOB}.txt")),
        (lambda key: result_key(key, JOB, ".json"), 1024 - len(f"/{JOB}.json")),
        (lambda key: records_prefix(key, JOB), 1024 - len(f"records//{JOB}/") - 48),
    ],
    ids=["text", "json", "record"],
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
    result = result_key(key, JOB, ".txt")
    assert result.startswith("😀" * 234 + "~")
    assert len(result.encode()) == 1024 - 2


@given(LONG_KEYS, st.text("ab", min_size=1, max_size=3), st.text("ab", min_size=1, max_size=3), JOBS)
def test_documents_that_differ_have_keys_that_differ(start: str, one: str, other: str, job: str) -> None:
    """Also where they differ only in what is cut off, and even within one job."""
    first, second = (
        (start.encode()[: MAX_KEY_BYTES - 3].decode(errors="ignore")) + end for end in (one, other)
    )
    assert (result_key(first, job, ".txt") == result_key(second, job, ".txt")) == (one == other)
    assert (record_key(first, job, ATTEMPT) == record_key(second, job, ATTEMPT)) == (one == other)


@given(KEYS | LONG_KEYS, JOBS, JOBS)
def test_jobs_that_differ_have_keys_that_differ(key: str, one: str, other: str) -> None:
    """A new version of document or task never meets the result of an old one."""
    assert (result_key(key, one, ".txt") == result_key(key, other, ".txt")) == (one == other)
    assert (records_prefix(key, one) == records_prefix(key, other)) == (one == other)


@given(KEYS | LONG_KEYS, JOBS)
def test_an_answer_as_text_never_meets_one_as_json(key: str, job: str) -> None:
    """The suffix is never what is cut off."""
    assert result_key(key, job, ".txt") != result_key(key, job, ".json")


def test_a_result_and_its_records_lie_here() -> None:
    """The layout that people list and download by: the document's key, then the job, then the attempt."""
    assert result_key("a/b.pdf", "j", ".txt") == "a/b.pdf/j.txt"
    assert result_key("a/b.pdf", "j", ".json") == "a/b.pdf/j.json"
    assert records_prefix("a/b.pdf", "j") == "records/a/b.pdf/j/"
    assert record_key("a/b.pdf", "j", "1") == "records/a/b.pdf/j/1.json"


PARTS = st.tuples(*4 * [st.text(alphabet='a\n",[] ', max_size=3)])
VARIED_PARTS = st.tuples(*5 * [st.text(alphabet='a\n",[] ', max_size=3)])


@given(PARTS | VARIED_PARTS, PARTS | VARIED_PARTS)
def test_a_job_is_told_by_all_of_its_parts(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Bucket, key, version, task and variation: none runs into the next, whatever quotes they hold."""
    one, other = (parts[:4] if parts[4:] == ("",) else parts for parts in (one, other))
    assert (job_id(*one) == job_id(*other)) == (one == other)


def test_a_job_id_is_this() -> None:
    """Documents that were answered before a release are not answered again after it.

    The value is pinned: an id that changes makes every message that comes again a new job.
    """
    plain = "c349569b460c9da1da5f085b9093fedccbf5284771d49b4f5984540539cce36e"
    varied = "c00917e766e89363f25469d5cd4810521f2123a4142ba809a344377970b1d7a5"
    assert job_id("b", "k", "v", "t") == plain
    assert job_id("b", "k", "v", "t", "") == plain
    assert job_id("b", "k", "v", "t", "w") == varied


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
