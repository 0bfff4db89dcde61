"""What becomes of messages that name no document, several, or somebody else's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from runtime.worker import keys
from runtime.worker.failures import LostOwnershipError
from tests.unit.edge import AWS_DOWN, JOB, KEY
from tests.unit.handler.world import UNVERSIONED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.handler.world import World


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{no json", "unreadable_message"),
        ('{"document": "s3://in/other/a.txt"}', "misplaced"),
        ('{"document": "s3://in/task"}', "misplaced"),
        ('{"document": "s3://in/task-2/a.txt"}', "misplaced"),
        ('{"document": "s3://other/task/a.txt"}', "misplaced"),
    ],
)
async def test_a_message_that_is_not_for_this_worker_is_put_away_before_anything_is_fetched(
    make: Callable[..., World], body: str, reason: str
) -> None:
    """It may read nothing else, nor name results after it."""
    assert await make(body=body).handle() == [f"dead_letter document {reason}"]


async def test_one_misplaced_document_among_several_puts_the_message_away(
    make: Callable[..., World],
) -> None:
    """Half of a message is not answered."""
    body = _notification("task/a.txt", "other/b.txt")
    assert await make(body=body).handle() == ["dead_letter document misplaced"]


async def test_several_documents_get_a_message_each(make: Callable[..., World]) -> None:
    """Each has its own attempts and its own end."""
    body = _notification("task/a.txt", "task/b.txt")
    assert await make(body=body).handle() == ["replace task/a.txt task/b.txt"]


@pytest.mark.parametrize("body", ['{"Service": "Amazon S3", "Event": "s3:TestEvent"}', '{"Records": [%s]}'])
async def test_a_message_that_asks_for_nothing_is_only_deleted(make: Callable[..., World], body: str) -> None:
    """S3 sends one when a notification is set up, and one for a removal."""
    removal = _notification("task/a.txt").replace("ObjectCreated:Put", "ObjectRemoved:Delete")
    assert await make(body=removal if "%s" in body else body).handle() == ["replace"]


@pytest.mark.parametrize("error", [AWS_DOWN, LostOwnershipError("gone")], ids=["down", "lost"])
@pytest.mark.parametrize("step", ["replace", "dead_letter"])
async def test_a_message_that_cannot_be_put_away_comes_back(
    make: Callable[..., World], step: str, error: Exception
) -> None:
    """Hidden for a pause that grows with its receives."""
    world = make(body="{" if step == "dead_letter" else _notification("task/a", "task/b"), receives=50)
    world.edge.failing[step] = [error]
    await world.handle()
    assert 30 <= world.released_after <= 60


async def test_a_version_of_the_message_and_one_of_s3_come_to_one_job(make: Callable[..., World]) -> None:
    """Whichever way a document came in, it is one job."""
    world = make(body=UNVERSIONED)
    await world.handle()
    assert world.record.job == JOB == keys.job_id("in", KEY, "v1", world.task.hash)


def _notification(*names: str) -> str:
    records = [
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "in"}, "object": {"key": name, "size": 4}},
        }
        for name in names
    ]
    return json.dumps({"Records": records})
