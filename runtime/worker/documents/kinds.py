"""What a document is, where its declared type, its name and its content may disagree."""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import filetype  # pyright: ignore[reportMissingTypeStubs]

from runtime.spec import DocumentType

By = Literal["declared", "name", "content"]

IMAGES = frozenset({"image/png", "image/jpeg"})
FILES = IMAGES | {"application/pdf"}
"""What is no text: types whose content shows by its first bytes."""

HEAD_BYTES = 8192
"""What the sniffing library looks at."""

_ALIASES = {
    "application/csv": "text/csv",
    "application/srt": "application/x-subrip",
    "application/x-pdf": "application/pdf",
    "application/xhtml+xml": "text/html",
    "image/apng": "image/png",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "text/comma-separated-values": "text/csv",
    "text/json": "application/json",
    "text/srt": "application/x-subrip",
    "text/x-markdown": "text/markdown",
    "text/x-srt": "application/x-subrip",
}

_NAMES = mimetypes.MimeTypes()
for _type, _suffix in (
    ("text/markdown", ".md"),
    ("text/markdown", ".markdown"),
    ("application/x-subrip", ".srt"),
    ("text/vtt", ".vtt"),
    ("text/html", ".xhtml"),
):
    _NAMES.add_type(_type, _suffix)

_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x19\x1c-\x1f]")
"""Bytes of no text: some signatures are letters, and a text may begin with `BM` or `MZ`."""

_PDF_HEADER_BYTES = 1024
"""Where readers look for a PDF's header (PDF reference 1.7, implementation note 13)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a document was taken for.

    Attributes:
        type: one of ours, or what else it is; empty where nobody tells.
        by: who said so first: the declaration, else the name, else nobody but the content.
        said: the three answers, for people.
    """

    type: str
    by: By
    said: str


def decide(key: str, declared: str, head: bytes) -> Kind:
    """A signature in the content decides; among texts, which have none, the declaration, then the name.

    Args:
        key: of which the last part is the name.
        declared: a content type, with parameters.
        head: the first `HEAD_BYTES`.
    """
    told = _canonical(declared)
    named = _named(key)
    ours = get_args(DocumentType)
    # `text/plain` is what is declared where nothing is known: the name may know better.
    claims = [claim for claim in (told if told != "text/plain" else "", named, told) if claim in ours]
    found = _found(head, claims)
    texts = [claim for claim in claims if claim not in FILES]
    # A claim that the content does not bear out loses to one that it may; alone, its parser refuses it.
    kind = next(iter([*filter(None, [found]), *texts, *claims]), told or named)
    by: By = "declared" if kind == told else "name" if kind == named else "content"
    said = f"declared {told or 'nothing'}, named {named or 'nothing'}, found {found or 'no known signature'}"
    return Kind(kind, by, said)


def _canonical(content_type: str) -> str:
    plain = content_type.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain)


def _named(key: str) -> str:
    """The type that a name's suffix stands for; what is compressed is not what it holds."""
    # The slash, since a bare name such as `data:,x` would be read as a URL.
    guess, compression = _NAMES.guess_type("/" + key.rpartition("/")[2], strict=False)
    return _canonical(guess) if guess and not compression else ""


def _found(head: bytes, claims: list[str]) -> str:
    """What the content shows itself to be, empty where it shows nothing."""
    guess = cast("Any", filetype).guess_mime(head)
    found = _canonical(guess or "")
    if "application/pdf" in claims and b"%PDF-" in head[:_PDF_HEADER_BYTES]:
        return "application/pdf"
    return found if found in FILES or _CONTROL.search(head) else ""
