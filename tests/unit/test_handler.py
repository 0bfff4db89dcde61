"""What the handler does when AWS fails at one exact step; every other step is a stand-in."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args
from unittest.mock import AsyncMock

import pytest

from runtime.spec import DocumentType, ModelSource, ModelSpec, TaskSpec
from runtime.worker import answers, documents, handler
from runtime.worker.aws import AwsFailure
from runtime.worker.failures import TransientFailure
from runtime.worker.records import Record, now

if TYPE_CHECKING:
    from runtime.worker.holding import Hold

TASK = TaskSpec(
    name="task",
    model=ModelSpec(source=ModelSource.model_validate({"from": "tiny"})),
    accepts=get_args(DocumentType),
    queue_url="q",
    dead_letter_url="d",
    documents_bucket="in",
    results_bucket="out",
    attempts=1,
)
EVENT = (
    '{"source": "aws.s3", "detail-type": "Object Created",'
    ' "detail": {"bucket": {"name": "in"}, "object": {"key": "task/a.txt", "etag": "e"}}}'
)


class Surroundings:
    """A handler whose queue, results and server only note what is asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        document = documents.Document(b"text", "text/plain", "v1")
        answer = answers.Answer("answer", 1, 1, 0, 0, 0)
        monkeypatch.setattr(documents, "fetch", AsyncMock(return_value=document))
        monkeypatch.setattr(handler, "ask", AsyncMock(return_value=answer))
        self.queue = AsyncMock()
        self.results = AsyncMock()
        self.results.find.return_value = None
        self.results.put.return_value = True
        self.results.attempts.return_value = []
        self.hold: Any = SimpleNamespace(
            message=SimpleNamespace(body=EVENT, receipt="r", receives=1, sent=now()), lost=False
        )
        nothing: Any = SimpleNamespace(s3=None, digest="d", mark_sick=lambda: None)
        self.handler = handler.Handler(
            task=TASK, aws=nothing, queue=self.queue, results=self.results, server=nothing, ollama=nothing
        )

    async def handle(self) -> list[str]:
        """Handles the message; the outcomes that were written, in order."""
        hold: Hold = self.hold
        await self.handler.handle(hold)
        return [call.args[0].outcome for call in self.results.write.await_args_list]


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """A handler and what is around it."""
    return Surroundings(monkeypatch)


@pytest.mark.parametrize("step", ["announce", "delete"])
async def test_an_answered_document_is_never_recorded_as_failed(around: Surroundings, step: str) -> None:
    """What fails after the result is stored leaves the message to come back, whatever attempts are left."""
    failing = around.results.announce if step == "announce" else around.queue.delete
    failing.side_effect = TransientFailure("aws_error", "down")
    assert await around.handle() == ["running", "answered"]
    around.queue.dead_letter.assert_not_awaited()
    around.queue.hide.assert_awaited_once()


async def test_a_result_that_is_there_is_never_recorded_as_failed(around: Surroundings) -> None:
    """The same holds for whoever finishes the steps of another attempt."""
    around.results.find.return_value = {"attempt": "a"}
    around.results.read.side_effect = AwsFailure("get_object", "500", "down")
    assert await around.handle() == []
    around.queue.dead_letter.assert_not_awaited()


@pytest.mark.parametrize(
    ("there", "outcomes"), [(None, ["running", "lost"]), ({"attempt": "b"}, ["running"])]
)
async def test_a_lost_attempt_does_not_write_over_what_another_completed(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, there: dict[str, str] | None, outcomes: list[str]
) -> None:
    """Whoever lost the message records that, unless the document has its result by now."""

    async def lose(*_: object) -> None:
        around.hold.lost = True
        around.results.find.return_value = there
        raise asyncio.CancelledError

    monkeypatch.setattr(handler, "ask", lose)
    with pytest.raises(asyncio.CancelledError):
        await around.handle()
    assert [call.args[0].outcome for call in around.results.write.await_args_list] == outcomes
    around.queue.hide.assert_not_awaited()


async def test_a_newer_workers_record_can_be_read(around: Surroundings) -> None:
    """A field that this version does not know is no reason to fail."""
    await around.handle()
    written: Record = around.results.write.await_args_list[-1].args[0]
    body = written.model_dump_json(exclude_none=True).replace("{", '{"new": 1,', 1)
    assert Record.model_validate_json(body) == written
