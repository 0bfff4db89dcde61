"""What counts as a text, under which type, and in which words anything else is refused."""

from __future__ import annotations

from typing import get_args

import pytest

from runtime.spec import DocumentType
from runtime.worker.documents import Document, read, type_of
from runtime.worker.failures import DocumentFailure

ALL = get_args(DocumentType)
BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("key", "declared", "kind"),
    [
        ("a/b.txt", "", "text/plain"),
        ("a/b.TXT", "", "text/plain"),
        ("a/b.md", "", "text/markdown"),
        ("a/b.markdown", "", "text/markdown"),
        ("a/b.srt", "", "application/x-subrip"),
        ("a/b.vtt", "", "text/vtt"),
        ("a/b.csv", "", "text/csv"),
        ("a/b.json", "", "application/json"),
        ("a/b.html", "", "text/html"),
        ("a/b.htm", "binary/octet-stream", "text/html"),
        # A declaration of use wins over the name, and `text/plain` says least of all.
        ("a/b.txt", "text/csv", "text/csv"),
        ("a/b.md", "Text/HTML; charset=utf-8", "text/html"),
        ("a/b.srt", "text/plain", "application/x-subrip"),
        ("a/b", "text/plain; charset=utf-8", "text/plain"),
        ("a/b.unknown", "text/plain", "text/plain"),
        # Only the last part of a key is its name.
        ("a.txt/b", "", ""),
        ("a.txt/b", "application/x-thing", "application/x-thing"),
        ("a/b.pdf", "", "application/pdf"),
        ("a/b.pdf", "text/plain", "application/pdf"),
        # What is compressed is not what it holds.
        ("a/b.txt.gz", "application/octet-stream", "application/octet-stream"),
        ("a/b.csv.gz", "", ""),
    ],
)
def test_a_type_is_declared_or_told_by_the_name(key: str, declared: str, kind: str) -> None:
    """The uploader's word counts where it says something, else the end of the name."""
    assert type_of(key, declared) == kind


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"plain", "plain"),
        ("ünï 😀\r\n".encode(), "ünï 😀\r\n"),
        (BOM + b"after the mark", "after the mark"),
        (b"  kept  ", "  kept  "),
    ],
)
def test_a_text_is_read_as_it_is(content: bytes, text: str) -> None:
    """Nothing but a byte order mark is taken away."""
    assert read(Document(content, "text/plain", "v"), "a/b.txt", ALL) == text


@pytest.mark.parametrize(
    ("content", "byte"),
    [
        ("Grüße".encode("latin-1"), 2),
        ("text".encode("utf-16"), 0),
        ("text".encode("utf-16-le"), 1),
        (b"cut off \xe2\x82", 8),
        (BOM + b"caf\xe9 ", 6),
    ],
    ids=["latin-1", "utf-16", "utf-16 without a mark", "half a character", "behind a mark"],
)
def test_bytes_that_are_no_text_are_named(content: bytes, byte: int) -> None:
    """The failure says which byte of the document it is, and what would be right."""
    with pytest.raises(DocumentFailure) as caught:
        read(Document(content, "text/plain", "v"), "a/b.txt", ALL)
    assert caught.value.reason == "undecodable"
    assert caught.value.detail.startswith(f"byte {byte} is ")
    assert caught.value.detail.endswith("; upload the document as UTF-8")


@pytest.mark.parametrize("content", [b"", b" \t\r\n", BOM, "\u00a0\u2003".encode()])
def test_white_space_is_nothing(content: bytes) -> None:
    """No GPU is woken to answer an empty page."""
    with pytest.raises(DocumentFailure) as caught:
        read(Document(content, "text/plain", "v"), "a/b.txt", ALL)
    assert (caught.value.reason, caught.value.detail) == (
        "empty",
        "there is nothing in the document but white space",
    )


@pytest.mark.parametrize(
    ("key", "declared", "found"),
    [("a/b.pdf", "application/pdf", "application/pdf"), ("a/b", "", "of unknown type")],
)
def test_an_unsupported_type_is_told_what_is_accepted(key: str, declared: str, found: str) -> None:
    """The type decides before the bytes do, and the failure names what this model takes."""
    with pytest.raises(DocumentFailure) as caught:
        read(Document(b"\xff", declared, "v"), key, ("text/plain", "text/csv"))
    assert (caught.value.reason, caught.value.detail) == (
        "unsupported",
        f"the document is {found}; this model accepts text/plain, text/csv",
    )


def test_a_type_that_this_model_does_not_accept_is_unsupported() -> None:
    """What another model of the stack reads is refused by one that does not list it."""
    with pytest.raises(DocumentFailure, match=r"^unsupported: the document is text/csv; "):
        read(Document(b"a,b", "text/csv", "v"), "a/b.csv", ("text/plain",))
