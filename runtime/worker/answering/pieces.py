"""A document in pieces that fit into the context, as large as the server's own counts allow."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from runtime.worker.answering import splitting
from runtime.worker.answering.errors import DoesNotFitError
from runtime.worker.answering.room import BYTES_PER_TOKEN, CAUTIOUS_BYTES_PER_TOKEN
from runtime.worker.failures import DocumentFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.worker.answering.room import Room

MARGIN = 0.95
"""Of the room, as one piece's tokens are not quite as long as another's."""

MIN_PIECE_BYTES = 256
"""A piece that does not fit though it is as short as this: the prompt leaves no room."""

MAX_PIECES = 1000
"""More are no document for this model: each costs an answer's time, and each answer has to be merged."""

Got = TypeVar("Got")


async def ask_in_pieces(
    room: Room, text: str, ask: Callable[[str], Awaitable[tuple[Got, int]]]
) -> list[tuple[int, int, Got]]:
    """Puts a text to the model, whole if it fits and else in pieces, in order and with a small overlap.

    A piece that does not fit is halved and asked again. One that did says how long this text's tokens are,
    and the next is as long as they allow.

    Args:
        room: what fits.
        text: the document.
        ask: answers a text, with the number of its prompt's tokens.

    Returns:
        For each piece its first character, the one after its last, and what was got. They cover the document.

    Raises:
        DocumentFailure: `too_long`, besides what `ask` raises.
    """
    size = len(text.encode())
    if size <= room.bytes_at(BYTES_PER_TOKEN):
        with suppress(DoesNotFitError):
            return [(0, len(text), (await ask(text))[0])]
    limit = max(MIN_PIECE_BYTES, min(room.bytes_at(CAUTIOUS_BYTES_PER_TOKEN), size // 2))
    pieces: list[tuple[int, int, Got]] = []
    if size > limit * MAX_PIECES:
        raise _too_many(size)
    while not pieces or pieces[-1][1] < len(text):
        if len(pieces) == MAX_PIECES:
            raise _too_many(size)
        # Anew at each try: a shorter piece overlaps less.
        start = splitting.resume(text, *pieces[-1][:2], limit) if pieces else 0
        end = splitting.cut(text, start, limit)
        piece = text[start:end]
        length = len(piece.encode())
        try:
            got, tokens = await ask(piece)
        except DoesNotFitError as error:
            if length <= MIN_PIECE_BYTES:
                raise _no_room(room, length) from error
            limit = max(MIN_PIECE_BYTES, length // 2)
            continue
        pieces.append((start, end, got))
        if tokens:
            measured = (room.overhead_bytes + length) / tokens * MARGIN
            limit = max(MIN_PIECE_BYTES, room.bytes_at(measured))
    return pieces


def _no_room(room: Room, size: int) -> DocumentFailure:
    detail = (
        f"even a piece of {size} bytes does not fit into num_ctx {room.num_ctx} beside the prompt's "
        f"{room.overhead_bytes} bytes and an answer; raise num_ctx or shorten the prompt"
    )
    return DocumentFailure("too_long", detail)


def _too_many(size: int) -> DocumentFailure:
    detail = f"a document of {size} bytes would be more than {MAX_PIECES} pieces; raise num_ctx, or split it"
    return DocumentFailure("too_long", detail)
