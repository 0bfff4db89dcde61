"""Where results and records lie. Pure.

<task>/<document>/<job>.txt                       the result, or .json
records/<task>/<document>/<job>/<attempt>.json    one record for each attempt

A task may take the results of another for its documents. Its own are named after the same document, the one
at the beginning of the chain; the job is another one for each way through it.
"""

from __future__ import annotations

import hashlib
import json
import re

MAX_KEY_BYTES = 1024
"""S3: a key is at most 1,024 bytes of UTF-8 (S3 user guide, "Naming Amazon S3 objects")."""


def job_id(bucket: str, key: str, version: str, task_hash: str, variation: str = "") -> str:
    """The identity of one answer: this version of this document, asked by this version of the task.

    `variation` is what one message wants otherwise than the task, empty for nothing.
    """
    asked = [bucket, key, version, task_hash, *filter(None, [variation])]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


_JOB = re.compile(r"/[0-9a-f]{64}\.(txt|json)\Z")


def chained_key(task: str, result: str) -> str:
    """The key that a document would have if it had been put for this task, and not for the one before it.

    Args:
        task: whose results are to be named after it.
        result: key of the result of the task before, which is named after the document too.
    """
    return f"{task}/{_JOB.sub('', result).partition('/')[2]}"


def result_key(key: str, job: str, suffix: str) -> str:
    """Where the result of a document lies; its key begins with the task's name already."""
    return _fit("", key, f"/{job}{suffix}")


def records_prefix(key: str, job: str) -> str:
    """Under what all records of a job lie."""
    return _fit("records/", key, f"/{job}/", room=48)


def record_key(key: str, job: str, attempt: str) -> str:
    """Where the record of an attempt lies."""
    return f"{records_prefix(key, job)}{attempt}.json"


def _fit(before: str, document: str, after: str, room: int = 0) -> str:
    """Joins the parts, the document's cut at a code point where the key would be too long.

    What is cut off is told apart by the hash of the whole; `room` bytes stay free for what is appended.
    """
    left = MAX_KEY_BYTES - len(before.encode()) - len(after.encode()) - room
    if len(document.encode()) > left:
        digest = f"~{hashlib.sha256(document.encode()).hexdigest()[:16]}"
        document = document.encode()[: left - len(digest)].decode(errors="ignore") + digest
    return f"{before}{document}{after}"
