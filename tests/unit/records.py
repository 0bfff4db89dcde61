"""Records of attempts at a document, by when each began."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runtime.worker.records import DocumentFacts, FailureFacts, Record

SENT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def record_at(after_seconds: float, outcome: str, reason: str = "", kind: str = "", **more: object) -> Record:
    """The record of an attempt that began so long after its message was sent."""
    failure = FailureFacts.model_validate({"kind": kind, "reason": reason, "detail": "d"}) if reason else None
    return Record.model_validate(
        {
            "job": "j",
            "attempt": f"a{after_seconds}",
            "task": "task",
            "outcome": outcome,
            "document": DocumentFacts(bucket="b", key="k", version="v"),
            "model": "tiny",
            "model_hash": "h",
            "prompt_hash": "p",
            "options": {},
            "receives": 1,
            "started": SENT + timedelta(seconds=after_seconds),
            "failure": failure,
            **more,
        }
    )
