"""The record of an attempt: what was tried, when, with what, and how it ended. Never document text."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Literal

from pydantic import Field

from runtime.spec import Frozen
from runtime.worker.failures import FailureClass

Outcome = Literal["running", "answered", "failed", "retried", "released", "lost", "crashed"]
"""`running`: not ended, or its node is gone. `retried`: will be tried again. `released`: given back, and not
counted. `lost`: the message went to somebody else meanwhile. `crashed`: it was in hand when its worker died
in a pod that lived on."""


class DocumentFacts(Frozen):
    """Which document it was, and what it was found to be."""

    bucket: str
    key: str
    version: str
    declared: str = ""
    type: str = ""
    decided_by: str = ""
    charset: str = ""
    bytes: int = 0
    pages: int = 0


class FailureFacts(Frozen):
    """Why there is no answer."""

    kind: FailureClass
    reason: str
    detail: str


class Tokens(Frozen):
    """What the server counted."""

    prompt: int
    answer: int


class ChunkFacts(Tokens):
    """One part of a long document: its first character, the one behind its last, and its tokens."""

    start: int
    end: int


class ResultFacts(Frozen):
    """Where the answer lies."""

    bucket: str
    key: str


class Record(Frozen, extra="ignore"):
    """One attempt at one job; a newer worker's record may have fields that an older one does not know.

    `seconds` holds its phases: `waited` in the queue, `fetch` until the document was read, `turn` until it
    had a slot, `server` at the model server, and as the server says `load`, `prompt` and `answer`.
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
    variation: str = Field(default="", description="hash of a message's own inputs and sampling")
    options: dict[str, object]
    worker: str = Field(default="", description="the pod")
    worker_version: str = ""
    receives: int
    alone: bool = Field(default=False, description="asked with nobody beside it, since it is under suspicion")
    trace: dict[str, str] = Field(default_factory=dict, description="the message's trace context")
    deadline: datetime | None = None
    started: datetime
    ended: datetime | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    tokens: Tokens | None = None
    requests: int = 0
    chunks: tuple[ChunkFacts, ...] = ()
    result: ResultFacts | None = None
    failure: FailureFacts | None = None
    completed_by: str = ""


def attempt_id(started: datetime) -> str:
    """A name for an attempt: attempts sort by time, and no two are alike."""
    return f"{started:%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}"
