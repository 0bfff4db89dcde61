"""What a document is taken for, where declaration, name and content agree, disagree or say nothing."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from runtime.worker.documents.kinds import By, decide

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def _zip(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "<x/>")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("key", "declared", "kind", "by"),
    [
        ("a/b.txt", "", "text/plain", "name"),
        ("a/b.TXT", "", "text/plain", "name"),
        ("a/b.md", "", "text/markdown", "name"),
        ("a/b.markdown", "", "text/markdown", "name"),
        ("a/b.srt", "", "application/x-subrip", "name"),
        ("a/b.vtt", "", "text/vtt", "name"),
        ("a/b.csv", "", "text/csv", "name"),
        ("a/b.json", "", "application/json", "name"),
        ("a/b.html", "", "text/html", "name"),
        ("a/b.xhtml", "", "text/html", "name"),
        ("a/b.htm", "binary/octet-stream", "text/html", "name"),
        # A declaration of use wins over the name, and `text/plain` says least of all.
        ("a/b.txt", "text/csv", "text/csv", "declared"),
        ("a/b.md", "Text/HTML; charset=utf-8", "text/html", "declared"),
        ("a/b.srt", "text/plain", "application/x-subrip", "name"),
        ("a/b.txt", "text/plain", "text/plain", "declared"),
        ("a/b", "text/plain; charset=utf-8", "text/plain", "declared"),
        ("a/b.unknown", "text/plain", "text/plain", "declared"),
        ("a/b.py", "text/plain", "text/plain", "declared"),
        ("a/b.txt", "video/mp4", "text/plain", "name"),
        # Other words for the same.
        ("a/b", "text/x-markdown", "text/markdown", "declared"),
        ("a/b", "application/xhtml+xml", "text/html", "declared"),
        ("a/b", "text/srt", "application/x-subrip", "declared"),
        # Only the last part of a key is its name, and no URL.
        ("a.txt/b", "", "", "declared"),
        ("a/data:,b", "", "", "declared"),
        ("a.txt/b", "application/x-thing", "application/x-thing", "declared"),
        ("a/b.docx", "application/octet-stream", "application/octet-stream", "declared"),
        # What is compressed is not what it holds.
        ("a/b.txt.gz", "application/octet-stream", "application/octet-stream", "declared"),
        ("a/b.csv.gz", "", "", "declared"),
        # What the content does not bear out loses to what it may; alone, it is for its parser to refuse.
        ("a/b.txt", "image/png", "text/plain", "name"),
        ("a/b.pdf", "text/plain", "text/plain", "declared"),
        ("a/b.pdf", "", "application/pdf", "name"),
        ("a/b", "image/jpg", "image/jpeg", "declared"),
    ],
)
def test_a_text_is_what_is_declared_or_named(key: str, declared: str, kind: str, by: By) -> None:
    """Texts have no signature: the uploader's word counts where it says something, else the name's end."""
    found = decide(key, declared, b"Some words, and more of them.")
    assert (found.type, found.by) == (kind, by)


@pytest.mark.parametrize(
    ("head", "key", "declared", "kind", "by"),
    [
        (PNG, "a.png", "image/png", "image/png", "declared"),
        (PNG, "a.png", "binary/octet-stream", "image/png", "name"),
        (PNG, "a.txt", "text/plain", "image/png", "content"),
        (PNG, "a.jpg", "image/jpeg", "image/png", "content"),
        (JPEG, "a.JPEG", "", "image/jpeg", "name"),
        (JPEG, "a", "image/jpg", "image/jpeg", "declared"),
        (JPEG, "a.html", "application/pdf", "image/jpeg", "content"),
        (PDF, "a", "", "application/pdf", "content"),
        (PDF, "a.txt", "application/x-pdf", "application/pdf", "declared"),
        # Readers look for a PDF's header in its first 1,024 bytes.
        (b"mail\r\n" + PDF, "a.pdf", "", "application/pdf", "name"),
        (b"mail\r\n" + PDF, "a.txt", "", "text/plain", "name"),
        (b" " * 1024 + PDF, "a.pdf", "text/csv", "text/csv", "declared"),
        (_zip("[Content_Types].xml", "word/document.xml"), "a.txt", "text/plain", DOCX, "content"),
        (_zip("a.txt"), "a.csv", "text/csv", "application/zip", "content"),
        (gzip.compress(b"text"), "a.txt", "", "application/gzip", "content"),
        (b"\x7fELF\x02\x01\x01" + bytes(57), "a.md", "", "application/x-executable", "content"),
        (b"ID3\x03\0\0\0\0\0\0", "a.srt", "", "audio/mpeg", "content"),
        (b"GIF89a\x01\0\x01\0", "a.png", "image/png", "image/gif", "content"),
        # Signatures of letters are no signatures in a text.
        (b"BMW sold MZ some ID3s", "a.txt", "", "text/plain", "name"),
        (b"MZ was here\r\n\tand \x1b[1mstayed\x1b[0m\x1a", "a.txt", "", "text/plain", "name"),
    ],
)
def test_a_signature_decides_over_what_is_said(
    head: bytes, key: str, declared: str, kind: str, by: By
) -> None:
    """What the first bytes show is what the document is; the record names who said so first."""
    found = decide(key, declared, head)
    assert (found.type, found.by) == (kind, by)


def test_a_kind_tells_all_three_answers() -> None:
    """Whoever reads a refusal sees what was declared, named and found."""
    assert decide("a.txt", "Text/CSV; x=y", gzip.compress(b"")).said == (
        "declared text/csv, named text/plain, found application/gzip"
    )
    assert decide("a", "", b"text").said == "declared nothing, named nothing, found no known signature"
