"""The record of an attempt: what was tried, when, with what, and how it ended. Never document text."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from runtime.spec import Frozen
from runtime.worker.failures import FailureClass

Outcome = Literal["running", "answered", "failed", "retried", "released", "lost"]
"""`running`: not ended, or its worker died. `retried`: will be tried again. `released`: given back untried
for no fault of the document. `lost`: the message went to somebody else meanwhile."""


class DocumentFacts(Frozen):
    """Which document it was."""

    bucket: str
    key: str
    version: str
    type: str = ""
    bytes: int = 0


class FailureFacts(Frozen):
    """Why there is no answer."""

    kind: FailureClass
    reason: str
    detail: str


class Tokens(Frozen):
    """What the server counted."""

    prompt: int
    answer: int


class ResultFacts(Frozen):
    """Where the answer lies."""

    bucket: str
    key: str


class Record(Frozen, extra="ignore"):
    """One attempt at one job; a newer worker's record may have fields that an older one does not know.

    `seconds` holds its phases: `waited` in the queue, `fetch`, and as the server says `load`, `prompt` and
    `answer`.
    """

    job: str
    attempt: str
    task: str
    outcome: Outcome
    document: DocumentFacts
    model: str
    model_hash: str
    model_digest: str = ""
    prompt_hash: str
    options: dict[str, object]
    receives: int
    started: datetime
    ended: datetime | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    tokens: Tokens | None = None
    result: ResultFacts | None = None
    failure: FailureFacts | None = None
    completed_by: str = ""


def now() -> datetime:
    """The time, for records."""
    return datetime.now(UTC)


def attempt_id(started: datetime) -> str:
    """A name for an attempt: attempts sort by time, and no two are alike."""
    return f"{started:%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}"
