"""Parsers of untrusted bytes, each run in a child process that is limited, and ends with its caller."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, ValidationError

from runtime.worker.failures import DocumentFailure

if TYPE_CHECKING:
    from typing import BinaryIO

PROGRAM = Path(__file__).with_name("parser.py")

PARSE_SECONDS = 60
"""A scan of 20 pages takes 15 of them, and a thousand pages of text 5."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser made of a document: text, images whose files have no name any more, a PDF's pages."""

    text: str
    images: tuple[BinaryIO, ...]
    pages: int


class Result(BaseModel, strict=True, extra="forbid"):
    """What a parser says, which is believed as little as the document."""

    text: str = ""
    images: int = Field(default=0, ge=0)
    pages: int = Field(default=0, ge=0)
    reason: Literal["", "damaged", "no_vision", "too_large"] = ""
    detail: str = ""


async def parse(verb: Literal["html", "image", "pdf"], document: BinaryIO, *arguments: str) -> Parsed:
    """Has a document parsed.

    Args:
        verb: what it is.
        document: a file with a descriptor, nothing of it in a buffer; its position is undefined afterwards.
        arguments: see `parser.main`.

    Raises:
        DocumentFailure: `damaged`, also when its parser dies or takes too long; `no_vision`; `too_large`.
    """
    with tempfile.TemporaryDirectory(prefix="document-") as name:
        folder = Path(name)
        await _run(document, verb, name, *arguments)
        try:
            result = Result.model_validate_json((folder / "result.json").read_bytes())
            if result.reason:
                raise DocumentFailure(result.reason, result.detail)
            images = tuple((folder / f"{n}.png").open("rb") for n in range(1, result.images + 1))
        except (OSError, ValidationError):
            raise DocumentFailure("damaged", "the document's parser did not say what it found") from None
    return Parsed(result.text, images, result.pages)


async def _run(document: BinaryIO, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        PROGRAM,
        *arguments,
        stdin=document.fileno(),
        # It answers in files: nothing here can fill a pipe, or this process.
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        # A terminal's Ctrl-C is not the document's fault.
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(PARSE_SECONDS):
            code = await process.wait()
    except TimeoutError:
        raise DocumentFailure(
            "damaged", f"reading the document took more than {PARSE_SECONDS} seconds"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        raise DocumentFailure("damaged", f"the document's parser died of it ({how})")
