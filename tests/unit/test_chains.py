"""A task whose documents are the results of another: where they lie, and what its own are named after."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.worker.aws import Aws
from runtime.worker.keys import chained_key, job_id, record_key, result_key
from runtime.worker.results import Results
from tests.unit.clocks import Clock
from tests.unit.fake_client import FakeClient
from tests.unit.records import record_at
from tests.unit.tasks import task

JOB = "0123456789abcdef" * 4
BEFORE = f"first/a/b.pdf/{JOB}.txt"
CHAINED = task(after="first")
PARTS = st.text(alphabet="a. ~é/\n", min_size=1, max_size=20)


def test_a_task_names_the_place_of_its_documents() -> None:
    """Under its own name in the one bucket, or under the other task's in the other."""
    assert task().source == "s3://in/task/"
    assert CHAINED.source == "s3://out/first/"


@pytest.mark.parametrize("suffix", ["txt", "json"])
def test_results_keep_the_name_of_the_first_document(suffix: str) -> None:
    """However long the chain is: `first/a/b.pdf` ends as `last/a/b.pdf`."""
    result = "first/a/b.pdf"
    for name in ("first", "second", "last"):
        result = result_key(chained_key(name, result) if name != "first" else result, JOB, f".{suffix}")
    assert result == f"last/a/b.pdf/{JOB}.{suffix}"


@given(PARTS, st.sampled_from([".txt", ".json"]))
def test_the_name_is_the_documents_own(document: str, suffix: str) -> None:
    """Whatever it is called: as if it had been put for this task."""
    assert chained_key("last", result_key(f"first/{document}", JOB, suffix)) == f"last/{document}"


@pytest.mark.parametrize("document", [f"a/{JOB}.txt", f"{JOB}.txt", f"{JOB}.txt/b", f"{JOB}.md", "a.txt"])
def test_one_job_is_taken_off_and_no_more(document: str) -> None:
    """A document may be called like a result."""
    assert chained_key("last", f"first/{document}/{JOB}.txt") == f"last/{document}"


def test_what_is_cut_stays_told_apart() -> None:
    """A name that was cut once is cut again where the next task's name is longer; it has two hashes then."""
    documents = [f"first/{'a' * 1000}{end}" for end in "bc"]
    first = [result_key(each, JOB, ".txt") for each in documents]
    second = [result_key(chained_key("second-and-longer", each), JOB, ".txt") for each in first]
    assert len({*first, *second}) == 4
    assert max(len(each.encode()) for each in second) <= 1024


def test_each_way_through_a_chain_is_a_job_of_its_own() -> None:
    """A document that is answered anew is answered anew by whatever follows."""
    other = BEFORE.replace(JOB, JOB[::-1])
    assert job_id("out", BEFORE, "1", CHAINED.hash) != job_id("out", other, "1", CHAINED.hash)


async def test_everything_of_a_result_lies_under_the_document() -> None:
    """Its own result, its record, and both where they are looked for."""
    s3, nobody = FakeClient(), None
    results = Results(Aws(s3=_any(s3), sqs=_any(nobody), events=_any(nobody)), CHAINED, Clock())
    record = record_at(1, "answered", job="j")
    record = record.model_copy(update={"document": record.document.model_copy(update={"key": BEFORE})})
    await results.put(BEFORE, "j", b"answer", "a1")
    await results.write(record)
    await results.attempts(BEFORE, "j")
    own = record_key("task/a/b.pdf", "j", record.attempt)
    assert results.place(BEFORE, "j").key == "task/a/b.pdf/j.txt"
    assert [call["Key"] for name, call in s3.calls if name == "put_object"] == ["task/a/b.pdf/j.txt", own]
    (listed,) = (call["Prefix"] for name, call in s3.calls if name == "list_objects_v2")
    assert own.startswith(listed)
    written = json.loads(s3.calls[1][1]["Body"])
    assert written["document"]["key"] == BEFORE


def _any(value: object) -> Any:  # noqa: ANN401  a fake of whatever is asked for
    return value
