"""What the earlier attempts at a job mean for the next one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from runtime.worker.records import FailureFacts, Record

DEATHS = frozenset({"server_gone", "runner_crashed"})
"""How a server ends under a document: it may have been the document's doing, or its neighbour's."""

MAX_CRASHES = 3
"""Of workers with a document in hand, wherever it was: one that is fatal to read never gets to be alone."""

CLOCK_SKEW = timedelta(seconds=5)
"""Between this clock and SQS's own."""


@dataclass(frozen=True, slots=True)
class History:
    """The attempts since the message was sent; a message moved back from the dead letters starts anew.

    Attributes:
        tried: attempts that count: those that met a transient error.
        server_failed: attempts that the server failed, for whatever reason.
        first: when the first attempt that counts began, None before any.
        suspect: whether the document was in hand when its server or its worker died.
        condemned: whether its worker died while it was alone at the server, or died too often.
        gave_up: whether the server gave up on its answer before.
        failed: how it failed for good, where only the message is left to be put away.
    """

    tried: int = 0
    server_failed: int = 0
    first: datetime | None = None
    suspect: bool = False
    condemned: bool = False
    gave_up: bool = False
    failed: FailureFacts | None = None


def read(records: Iterable[Record], sent: datetime) -> History:
    """Reads the records of a job's earlier attempts, in order of time.

    Args:
        records: all there are; older ones than the message do not count.
        sent: when the message was put into the queue.
    """
    past = [record for record in records if record.started >= sent - CLOCK_SKEW]
    died = [record for record in past if record.outcome == "crashed" or _reason(record) in DEATHS]
    crashes = [record for record in died if record.outcome == "crashed"]
    ends = [record.failure for record in past if record.outcome == "failed"]
    return History(
        tried=sum(record.outcome == "retried" for record in past),
        server_failed=sum(record.outcome == "released" and record.failure is not None for record in past),
        first=next((record.started for record in past if record.outcome == "retried"), None),
        suspect=bool(died),
        condemned=any(record.alone for record in crashes) or len(crashes) >= MAX_CRASHES,
        gave_up=any(_reason(record) == "not_done" for record in past),
        failed=ends[-1] if ends else None,
    )


def _reason(record: Record) -> str:
    return record.failure.reason if record.failure else ""
