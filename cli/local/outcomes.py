"""Documents in, outcomes out: what a data engineer does by hand with the two buckets."""

from __future__ import annotations

import mimetypes
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.local.errors import LocalError
from runtime.worker.keys import chained_key
from runtime.worker.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from runtime.spec import TaskSpec

POLL_SECONDS = 0.2
FINAL = frozenset({"answered", "failed"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one document ended.

    Attributes:
        document: path below the documents' folder, of the document at the beginning of a chain.
        record: the attempt that ended it.
        answer: the result, or None where there is a failure instead.
    """

    document: str
    record: Record
    answer: str | None


def find(folder: Path) -> list[Path]:
    """Every file below a folder, but for hidden ones.

    Raises:
        LocalError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise LocalError(f"{folder} is not a folder; name one with documents: make local DOCUMENTS=<folder>")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not files:
        raise LocalError(f"{folder} holds no documents")
    for path in files:
        try:
            path.name.encode()
        except UnicodeEncodeError:
            raise LocalError(f"the name of {path!r} is not UTF-8, as keys in S3 are; rename it") from None
    return files


def upload(s3: S3Client, task: TaskSpec, folder: Path, files: list[Path]) -> None:
    """Drops documents into the bucket, under the model's prefix, as `aws s3 cp` would."""
    for path in files:
        s3.put_object(
            Bucket=task.documents_bucket,
            Key=f"{task.name}/{path.relative_to(folder).as_posix()}",
            Body=path.read_bytes(),
            ContentType=mimetypes.guess_type(path.name)[0] or "binary/octet-stream",
        )


def collect(s3: S3Client, task: TaskSpec, count: int, healthy: Callable[[], None]) -> Iterator[Outcome]:
    """Yields each document's outcome as it appears, until `count` are there.

    Args:
        s3: the emulator's S3.
        task: whose documents.
        count: how many documents there are.
        healthy: raises when nothing more is to be expected.

    Raises:
        LocalError: nothing ended for longer than a document may take.
    """
    seen: set[str] = set()
    read: set[str] = set()
    patience = task.time_limit_seconds * task.attempts + 60
    last = time.monotonic()
    while len(seen) < count:
        for record in _final_records(s3, task, read):
            last = time.monotonic()
            if record.document.key not in seen:
                seen.add(record.document.key)
                key = record.document.key
                named = key if task.after is None else chained_key(task.name, key)
                yield Outcome(named.removeprefix(f"{task.name}/"), record, _answer(s3, record))
        healthy()
        if time.monotonic() - last > patience:
            raise LocalError(f"no document ended within {patience} seconds; {count - len(seen)} are left")
        time.sleep(POLL_SECONDS)


def _final_records(s3: S3Client, task: TaskSpec, read: set[str]) -> Iterator[Record]:
    """Records of attempts that ended a document; the keys of all that were given are kept in `read`."""
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=task.results_bucket, Prefix=f"records/{task.name}/"
    )
    for page in pages:
        for entry in page.get("Contents", []):
            key = entry.get("Key", "")
            if key in read:
                continue
            body = s3.get_object(Bucket=task.results_bucket, Key=key)["Body"].read()
            record = Record.model_validate_json(body)
            if record.outcome in FINAL:
                read.add(key)
                yield record


def _answer(s3: S3Client, record: Record) -> str | None:
    if record.result is None:
        return None
    return s3.get_object(Bucket=record.result.bucket, Key=record.result.key)["Body"].read().decode()
