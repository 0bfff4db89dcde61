"""Untrusted bytes are parsed here, in a process of its own that may die of them.

Run as a file, `python -I parser.py html|image|pdf FOLDER ARGUMENT... < document`, so that nothing of the
runtime is loaded: it starts in the time that its one library takes. It writes `FOLDER/result.json`, with the
fields of `parsing.Result`, and images as `FOLDER/1.png` and so on.
"""

from __future__ import annotations

import contextlib
import json
import resource
import struct
import sys
import zlib
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any

MEMORY_BYTES = 1024**3
"""Address space; twice what 16 MiB of dense HTML were seen to take."""

CPU_SECONDS = 60
FILE_BYTES = 256 * 1024**2

MAX_PIXELS = 64_000_000
"""Of an image: 8,000 x 8,000, which the model server decodes to 256 MB."""

MAX_PAGES_SEEN = 20
"""Pages of a PDF that are given as images; each takes a thousand tokens and more."""

PAGE_DPI = 150
PAGE_PIXELS = 2000
"""The longest side of a page's image; what vision models scale down from anyway."""

DOTS_PER_UNIT = 1 / 72
PASSWORD_ERROR = 4

BROKEN = (
    *(ArithmeticError, EOFError, LookupError, OSError, SyntaxError, TypeError, ValueError),
    *(struct.error, zlib.error),
)
"""What Pillow raises for images that are none."""

Library = Any
"""What comes from a library without types, or from one that is loaded only where it is needed."""


class Refused(Exception):
    """The document cannot be read: a reason and a sentence, without a word of the document."""


def main(verb: str, folder: str, *arguments: str) -> None:
    """Parses stdin into the folder: `html` in UTF-8, an `image` of a format, or a `pdf`.

    Args:
        verb: which of them.
        folder: exists, and is empty.
        arguments: of `image`, its format; of `pdf`, bytes of text at most, and `see` where the model can.
    """
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError):  # macOS knows no limit of address space
            resource.setrlimit(limit, (value, value))
    sys.stdin.buffer.seek(0)
    try:
        if verb == "html":
            result = {"text": readable(sys.stdin.buffer.read().decode())}
        elif verb == "image":
            result = check_image(*arguments)
        else:
            result = read_pdf(Path(folder), int(arguments[0]), see="see" in arguments)
    except Refused as refused:
        reason, detail = refused.args
        result = {"reason": reason, "detail": detail}
    except MemoryError:
        needed = f"reading the document takes more than {MEMORY_BYTES // 1024**2} MiB of memory"
        result = {"reason": "too_large", "detail": needed}
    Path(folder, "result.json").write_text(json.dumps(result), "utf-8")


def readable(page: str) -> str:
    """An HTML page as Markdown, without what a browser does not show."""
    html: Library = import_module("html_to_markdown")
    options = html.ConversionOptions(
        extract_metadata=False, compact_tables=True, inline_data_media=html.InlineDataMedia.ALT_TEXT_ONLY
    )
    try:
        result = html.convert(page, options)
    except html.ConversionError:
        return _words(page)
    # It warns of what it left out, which is what lies more than 1,024 elements deep.
    return _words(page) if result.warnings else result.content


def _words(page: str) -> str:
    words = _Words()
    words.feed(page)
    words.close()
    return "\n".join(words.found)


class _Words(HTMLParser):
    """Text between tags, however deep or broken they are."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        if self.cdata_elem not in {"script", "style"} and data.strip():
            self.found.append(data.strip())


def check_image(form: str) -> dict[str, object]:
    """Decodes an image of the format that Pillow calls so, and gives nothing.

    Raises:
        Refused: `damaged` or `too_large`.
    """
    pillow: Library = import_module("PIL.Image")
    pillow.MAX_IMAGE_PIXELS = None  # said below in our words
    try:
        with pillow.open(sys.stdin.buffer, formats=[form]) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                found = f"the image has {width} x {height} pixels"
                raise Refused("too_large", f"{found}; {MAX_PIXELS} are the most")
            # The whole stream is decoded all the same, of a JPEG at an eighth of its size.
            image.draft(None, (width // 8, height // 8))
            image.load()
        if form == "PNG":
            # Checksums, and an end; what `load` does without.
            sys.stdin.buffer.seek(0)
            with pillow.open(sys.stdin.buffer, formats=[form]) as image:
                image.verify()
    except BROKEN as error:
        sentence = f"the document is no whole {form}: it is cut off, or some of its bytes have changed"
        raise Refused("damaged", f"{sentence} ({type(error).__name__})") from None
    return {}


def read_pdf(folder: Path, max_text_bytes: int, *, see: bool) -> dict[str, object]:
    """The text layer; of pages without one, images.

    Where there are several pages, a line before each says which it is: `[page 2]`, `[page 3: image 1]`.

    Raises:
        Refused: `damaged`, `too_large`, or, where nobody can see, `no_vision`.
    """
    pdfium: Library = import_module("pypdfium2")
    try:
        pdf = pdfium.PdfDocument(sys.stdin.buffer)
        pdf.init_forms()
        parts: list[str] = []
        unread: list[int] = []
        size = 0
        for number in range(1, len(pdf) + 1):
            page = pdf[number - 1]
            text = _page_text(page)
            if text:
                parts.append(f"[page {number}]\n{text}" if len(pdf) > 1 else text)
            elif _has_something(pdfium.raw, page):
                unread.append(number)
                if see and len(unread) <= MAX_PAGES_SEEN:
                    _draw(page, folder / f"{len(unread)}.png")
                    parts.append(f"[page {number}: image {len(unread)}]")
            size += len(text.encode())
            if size > max_text_bytes:
                raise Refused("too_large", f"the text of the PDF has more than {max_text_bytes} bytes")
            page.close()
    except pdfium.PdfiumError as error:
        if error.err_code == PASSWORD_ERROR:
            raise Refused("damaged", "the PDF is encrypted; upload it without a password") from None
        raise Refused("damaged", "the document does not parse as a PDF; save it anew") from None
    if unread and not see:
        raise Refused(
            "no_vision",
            f"{len(unread)} of {len(pdf)} pages of the PDF have no text, the first is page {unread[0]}; "
            "put text behind them by OCR, or give them to a model that can see",
        )
    if len(unread) > MAX_PAGES_SEEN:
        raise Refused(
            "too_large",
            f"{len(unread)} pages of the PDF have no text, of which {MAX_PAGES_SEEN} can be given as images; "
            "put text behind them by OCR, or split it",
        )
    return {"text": "\n\n".join(parts) if size else "", "images": len(unread), "pages": len(pdf)}


def _page_text(page: Library) -> str:
    text: str = page.get_textpage().get_text_bounded(errors="ignore")
    # PDFium's mark for a hyphen at the end of a line, which it joins to the next.
    return text.replace("\ufffe", "").replace("\0", "").replace("\r\n", "\n").strip()


def _has_something(raw: Library, page: Library) -> bool:
    return raw.FPDFPage_CountObjects(page) > 0 or raw.FPDFPage_GetAnnotCount(page) > 0


def _draw(page: Library, file: Path) -> None:
    scale = min(PAGE_DPI * DOTS_PER_UNIT, PAGE_PIXELS / max(page.get_size()))
    page.render(scale=scale).to_pil().save(file, compress_level=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
