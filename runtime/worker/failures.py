"""What can go wrong with a document, by whose fault it is: that decides what happens to its message.

A *document* failure is final, a *transient* one is tried again, and a *server* failure is not the document's
at all. The reason is a stable word for programs, the detail a sentence for people.
"""

from __future__ import annotations

from typing import ClassVar, Literal

FailureClass = Literal["document", "transient", "server"]


class Failure(Exception):
    """Why a document has no answer.

    Attributes:
        kind: whose fault it is.
        reason: a word that programs can rely on, such as `undecodable`.
        detail: a sentence that says what was found and what would be right. Never document text.
    """

    kind: ClassVar[FailureClass]

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class DocumentFailure(Failure):
    """The document itself cannot be answered; trying again would change nothing."""

    kind = "document"


class TransientFailure(Failure):
    """Something around the document failed that may not fail again."""

    kind = "transient"


class ServerFailure(Failure):
    """The model server is gone or sick: no document can be answered, so none is to blame."""

    kind = "server"


def failure_of(kind: FailureClass, reason: str, detail: str) -> Failure:
    """The failure that a record tells of."""
    classes = (DocumentFailure, TransientFailure, ServerFailure)
    return next(found for found in classes if found.kind == kind)(reason, detail)


class LostOwnershipError(Exception):
    """The message belongs to somebody else by now: whatever is in hand must not be committed as ours."""
