"""The results bucket: the one result of a job, and the records of all attempts at it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from runtime.worker import keys
from runtime.worker.aws import Aws, AwsFailure, call
from runtime.worker.clock import SYSTEM, Clock
from runtime.worker.failures import TransientFailure
from runtime.worker.queue import XRAY
from runtime.worker.records import Record, ResultFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_events.type_defs import PutEventsRequestEntryTypeDef

    from runtime.spec import TaskSpec

log = structlog.get_logger()

MISSING = frozenset({"404", "NoSuchKey"})
EXISTS = frozenset({"PreconditionFailed", "412"})
CONFLICT = "ConditionalRequestConflict"
"""S3's answer, a 409, while another conditional write of the same key is under way: to be tried again."""

CONFLICT_PAUSES_SECONDS = (0.1, 0.3, 1.0, 3.0, 3.0)

EVENT_SOURCE = "ollama-eks"
EVENT_TYPE = "Document Answered"


class Results:
    """Reads and writes one bucket; every write is safe to repeat."""

    def __init__(self, aws: Aws, task: TaskSpec, clock: Clock = SYSTEM) -> None:
        self._s3 = aws.s3
        self._events = aws.events
        self._bucket = task.results_bucket
        self._suffix, self._type = task.result_type
        self._task = task
        self._clock = clock

    def place(self, key: str, job: str) -> ResultFacts:
        """Where the result of a job lies, or will."""
        return ResultFacts(bucket=self._bucket, key=keys.result_key(self._named(key), job, self._suffix))

    def _named(self, key: str) -> str:
        """What results and records of a document are named after: itself, or where its chain began."""
        return key if self._task.after is None else keys.chained_key(self._task.name, key)

    async def find(self, key: str, job: str) -> Mapping[str, str] | None:
        """The metadata of a job's result, or None while there is none."""
        try:
            answer = await call(self._s3.head_object, Bucket=self._bucket, Key=self.place(key, job).key)
        except AwsFailure as error:
            if error.code in MISSING:
                return None
            raise
        return answer["Metadata"]

    async def put(self, key: str, job: str, body: bytes, attempt: str) -> bool:
        """Puts a result, the commit point: false where another attempt's result is there already."""
        for pause_seconds in CONFLICT_PAUSES_SECONDS:
            try:
                await call(
                    self._s3.put_object,
                    Bucket=self._bucket,
                    Key=self.place(key, job).key,
                    Body=body,
                    ContentType=self._type,
                    Metadata={"job": job, "attempt": attempt},
                    # Of any number of attempts exactly one is stored (S3 user guide, "conditional writes").
                    IfNoneMatch="*",
                )
            except AwsFailure as error:
                if error.code in EXISTS:
                    return False
                if error.code != CONFLICT:
                    raise
                await self._clock.sleep(pause_seconds)
            else:
                return True
        raise TransientFailure("aws_error", "put_object: other writes of this result keep getting in the way")

    async def write(self, record: Record) -> None:
        """Puts an attempt's record, over its earlier state."""
        await call(
            self._s3.put_object,
            Bucket=self._bucket,
            Key=keys.record_key(self._named(record.document.key), record.job, record.attempt),
            Body=record.model_dump_json(exclude_none=True).encode(),
            ContentType="application/json",
        )

    async def read(self, key: str, job: str, attempt: str) -> Record | None:
        """An attempt's record, None where there is none that this version can read."""
        where = keys.record_key(self._named(key), job, attempt)
        try:
            answer = await call(self._s3.get_object, Bucket=self._bucket, Key=where)
        except AwsFailure as error:
            if error.code in MISSING:
                return None
            raise
        try:
            return Record.model_validate_json(await call(answer["Body"].read))
        except ValidationError as error:
            log.warning("record not readable", place=f"s3://{self._bucket}/{where}", problem=str(error))
            return None

    async def attempts(self, key: str, job: str) -> list[Record]:
        """The records of a job so far, in order of time."""
        prefix = keys.records_prefix(self._named(key), job)
        answer = await call(self._s3.list_objects_v2, Bucket=self._bucket, Prefix=prefix)
        names = [entry.get("Key", "") for entry in answer.get("Contents", [])]
        records = [
            await self.read(key, job, name.removeprefix(prefix).removesuffix(".json"))
            for name in sorted(names)
        ]
        return [record for record in records if record]

    async def announce(self, record: Record) -> None:
        """Tells EventBridge of a result. Its detail carries the job, by which consumers deduplicate."""
        told = {"job", "attempt", "task", "document", "result", "tokens", "trace"}
        entry: PutEventsRequestEntryTypeDef = {
            "Source": EVENT_SOURCE,
            "DetailType": EVENT_TYPE,
            "Detail": record.model_dump_json(include=told),
        }
        if XRAY in record.trace:
            entry["TraceHeader"] = record.trace[XRAY]
        answer = await call(self._events.put_events, Entries=[entry])
        if answer["FailedEntryCount"]:
            raise TransientFailure("aws_error", f"put_events: {json.dumps(answer['Entries'])}")
