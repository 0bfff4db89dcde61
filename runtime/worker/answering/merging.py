"""The answers to a document's pieces, made one by the model that gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.worker.answering.errors import DoesNotFitError
from runtime.worker.answering.room import CAUTIOUS_BYTES_PER_TOKEN
from runtime.worker.failures import DocumentFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.worker.answering.asking import Asking

MERGE = (
    "The document is too long to be read at once. These are the answers to its {count} consecutive parts, "
    "in order; the parts overlap a little, so that some things may be said twice. Make of them the one "
    "answer to the whole document, and do not mention the parts."
)


def layout(answers: Sequence[str]) -> str:
    """What stands in the document's place when its answers are merged."""
    parts = [
        f"[Part {number} of {len(answers)}]\n{answer.strip()}" for number, answer in enumerate(answers, 1)
    ]
    return "\n\n".join([MERGE.format(count=len(answers)), *parts])


async def merge(asking: Asking, answers: Sequence[str]) -> str:
    """One answer for consecutive pieces; if they are too long together, for each half first.

    Raises:
        DocumentFailure: `too_long` if not even two answers fit, besides what an answer raises.
        TransientFailure: as an answer raises.
        ServerFailure: likewise.
    """
    if len(answers) == 1:
        return answers[0]
    text = layout(answers)
    last = len(answers) == 2  # noqa: PLR2004  there is no half that could be merged first
    # An estimate, where there is another way: an answer that the context cuts off costs all of its time.
    if last or len(text.encode()) <= asking.room.bytes_at(CAUTIOUS_BYTES_PER_TOKEN):
        try:
            return (await asking.answer(text)).text
        except DoesNotFitError as error:
            if last:
                detail = (
                    f"two answers, {len(text.encode())} bytes, do not fit into num_ctx {asking.room.num_ctx} "
                    f"to be merged; raise it, or lower num_predict {asking.task.options.num_predict}"
                )
                raise DocumentFailure("too_long", detail) from error
    middle = len(answers) // 2
    return await merge(asking, [await merge(asking, answers[:middle]), await merge(asking, answers[middle:])])
