"""A fetched document as what a model can take: text, images, or a failure that says what is wrong."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from runtime.worker.documents import kinds, text
from runtime.worker.documents.parsing import parse
from runtime.worker.failures import DocumentFailure, TransientFailure

if TYPE_CHECKING:
    from typing import BinaryIO

    from runtime.spec import DocumentType, TaskSpec
    from runtime.worker.documents.fetching import Fetched

_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG"}


@dataclass(frozen=True, slots=True)
class Image:
    """An image for a model's eyes: a file positioned at 0, and its bytes."""

    file: BinaryIO
    size: int


@dataclass(frozen=True, slots=True)
class Content:
    """A document as a model can take it.

    Attributes:
        type: what it is, and
        decided_by: who said so first: the declaration, else the name, else only the content.
        charset: Python's name of the text's codec, empty for what is no text.
        text: as it is, but of HTML as Markdown, of a PDF its text layer; empty where there are only images.
        images: open until `close`, which need not wait for `Fetched`.
        pages: of a PDF, else 0.
    """

    type: DocumentType
    decided_by: kinds.By
    charset: str
    text: str
    images: tuple[Image, ...]
    pages: int

    def close(self) -> None:
        """Gives the images up."""
        for image in self.images:
            image.file.close()


async def read(fetched: Fetched, key: str, task: TaskSpec, *, vision: bool) -> Content:
    """Reads a document of a type that the task accepts.

    Args:
        fetched: read from its start; its position is undefined afterwards.
        key: what the document is called.
        task: what is accepted, up to which size.
        vision: whether the model can see.

    Raises:
        DocumentFailure: `unsupported`, `undecodable`, `empty`, `too_large`, `no_vision` or `damaged`.
        TransientFailure: `local_error`, when this machine has no room.
    """
    fetched.file.seek(0)
    kind = kinds.decide(key, fetched.declared, fetched.file.read(kinds.HEAD_BYTES))
    if kind.type not in task.accepts:
        raise DocumentFailure(
            "unsupported",
            f"the document is {kind.type or 'of unknown type'} ({kind.said}); "
            f"this model accepts {', '.join(task.accepts)}",
        )
    if kind.type in kinds.IMAGES and not vision:
        raise DocumentFailure(
            "no_vision", f"the document is {kind.type}; give it to a model that can see, or its text to this"
        )
    limit = task.max_file_bytes if kind.type in kinds.FILES else task.max_text_bytes
    if fetched.size > limit:
        raise DocumentFailure(
            "too_large", f"the document has {fetched.size} bytes; as {kind.type} it may have {limit}"
        )
    if fetched.size == 0:
        raise DocumentFailure("empty", "the document has no bytes")
    try:
        if kind.type in kinds.FILES:
            content = await _look(fetched, kind, task, vision=vision)
        else:
            content = await _read_text(fetched, kind)
    except OSError as error:
        raise TransientFailure("local_error", f"no file or process for the document: {error}") from error
    if not content.images and not content.text.strip():
        raise DocumentFailure("empty", "there is nothing in the document but white space")
    return content


async def _look(fetched: Fetched, kind: kinds.Kind, task: TaskSpec, *, vision: bool) -> Content:
    of = cast("DocumentType", kind.type)
    if kind.type in kinds.IMAGES:
        await parse("image", fetched.file, _FORMATS[kind.type])
        # Its own, so that it outlives the other; the position, which both share, is the parser's.
        file = os.fdopen(os.dup(fetched.file.fileno()), "rb")
        file.seek(0)
        return Content(of, kind.by, "", "", (Image(file, fetched.size),), 0)
    found = await parse("pdf", fetched.file, str(task.max_text_bytes), "see" if vision else "read")
    images = tuple(Image(file, os.fstat(file.fileno()).st_size) for file in found.images)
    return Content(of, kind.by, "", found.text, images, found.pages)


async def _read_text(fetched: Fetched, kind: kinds.Kind) -> Content:
    of = cast("DocumentType", kind.type)
    words, charset = await asyncio.to_thread(_decode, fetched, markup=of == "text/html")
    if of == "text/html":
        with tempfile.TemporaryFile() as page:
            page.write(words.encode())
            page.flush()
            del words
            words = (await parse("html", page)).text
    return Content(of, kind.by, charset, words, (), 0)


def _decode(fetched: Fetched, *, markup: bool) -> tuple[str, str]:
    fetched.file.seek(0)
    return text.decode(fetched.file.read(), fetched.declared, markup=markup)
