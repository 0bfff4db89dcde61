"""A request with images that are never in memory whole: base64 of their files, piece by piece."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

PIECE_BYTES = 3 * 256 * 1024
"""Of an image at a time: 1 MiB of base64, and a multiple of 3, so that only the last piece is padded."""


class Image(Protocol):
    """An image in a file that can be read again from its start."""

    @property
    def file(self) -> BinaryIO:
        """The content; its position is anybody's to set."""
        ...

    @property
    def size(self) -> int:
        """Bytes of content."""
        ...


def images_request(
    body: Mapping[str, object], images: Sequence[Image]
) -> tuple[Mapping[str, str], AsyncIterator[bytes]]:
    """The headers and the content of a request whose body is this JSON object and, as `images`, these."""
    # Without its closing brace.
    head = json.dumps(body, separators=(",", ":")).encode()[:-1] + b',"images":['
    quoted = [(image.size + 2) // 3 * 4 + len('""') for image in images]
    size = len(head) + sum(quoted) + len(images) - 1 + len("]}")
    # With its size it is not sent in chunks, which the server would have to put together.
    headers = {"Content-Type": "application/json", "Content-Length": str(size)}
    return headers, _content(head, images)


async def _content(head: bytes, images: Sequence[Image]) -> AsyncIterator[bytes]:
    yield head
    for number, image in enumerate(images):
        yield b',"' if number else b'"'
        await asyncio.to_thread(image.file.seek, 0)
        left = image.size
        while left:
            piece = await asyncio.to_thread(image.file.read, min(PIECE_BYTES, left))
            if len(piece) != min(PIECE_BYTES, left):
                raise ValueError(f"an image of {image.size} bytes ended {left - len(piece)} bytes early")
            left -= len(piece)
            yield base64.b64encode(piece)
        yield b'"'
    yield b"]}"
