"""Charsets: marked, declared, named by the page, UTF-8 or detected; and bytes that are in none."""

from __future__ import annotations

import codecs
import contextlib
import random
import time
from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.worker.documents.text import decode
from runtime.worker.failures import DocumentFailure

GERMAN = "Grüße aus Köln, schöne Wörter über Öl und Äpfel. Das ist ein ganz normaler Satz.\r\n"
RUSSIAN = "Привет, как дела? Это обычный русский текст.\n"
ASCII = "plain words " * 9_999
NO_CHARSET = "it is neither UTF-8 nor text in any other charset that could be told"
RUBBISH = random.Random(1).randbytes(500)  # noqa: S311  no secret
JAPANESE = "これは日本語のテキストです。今日はいい天気ですね。\n"


@pytest.mark.parametrize(
    ("content", "declared", "text", "charset"),
    [
        (b"", "", "", "utf-8"),
        (b"plain", "", "plain", "utf-8"),
        (b"  kept\r\n\x0c ", "", "  kept\r\n\x0c ", "utf-8"),
        ("ünï 😀\r\n".encode(), "", "ünï 😀\r\n", "utf-8"),
        # A mark wins over whatever is declared, and never reaches the model.
        (codecs.BOM_UTF8 + "ü".encode(), "text/plain; charset=latin-1", "ü", "utf-8"),
        ("ü😀".encode("utf-16"), "text/plain; charset=utf-8", "ü😀", "utf-16"),
        (codecs.BOM_UTF16_BE + "ü😀".encode("utf-16-be"), "", "ü😀", "utf-16"),
        ("ü😀".encode("utf-32"), "", "ü😀", "utf-32"),
        ("\ufeffü".encode("utf-16-be"), "text/plain; charset=utf-16be", "ü", "utf-16"),
        # Then the declaration.
        ("Grüße".encode("latin-1"), "text/csv; charset=ISO-8859-1", "Grüße", "cp1252"),
        ("\ufeff中文".encode("gb18030"), "text/plain; charset=gb18030", "中文", "gb18030"),
        ("Привет".encode("koi8-r"), 'text/plain; charset="KOI8-R"', "Привет", "koi8-r"),
        ("ü".encode("utf-16-le"), "text/plain; charset=utf-16le", "ü", "utf-16-le"),
        ("ü".encode(), "text/plain; charset=windows-1252", "Ã¼", "cp1252"),
        # Unless it is wrong, or means nothing.
        ("ü".encode(), "text/plain; charset=ascii", "ü", "utf-8"),
        ("ü".encode(), "text/plain; charset=no-such-thing", "ü", "utf-8"),
        (b"a-", "text/plain; charset=punycode", "a-", "utf-8"),
        (b"+AGE-", "text/plain; charset=utf-7", "+AGE-", "utf-8"),
        (b"6162", "text/plain; charset=hex", "6162", "utf-8"),
        (GERMAN.encode("latin-1"), "text/plain; charset=utf-8", GERMAN, "cp1252"),
        # Then UTF-8; then what is likely.
        ("Käse".encode("latin-1"), "", "Käse", "cp1252"),
        ("“Quoted” naïve café, €5.".encode("cp1252"), "", "“Quoted” naïve café, €5.", "cp1252"),
        ((ASCII + RUSSIAN + ASCII).encode("koi8-r"), "", ASCII + RUSSIAN + ASCII, "koi8-r"),
        (b"\xa9 2020 by us, at 20 \xb0C.", "", "© 2020 by us, at 20 °C.", "cp1252"),
        (GERMAN.encode("utf-16-le"), "", GERMAN, "utf-16-le"),
        (b"hello", "", "hello", "utf-8"),
        ("hello".encode("utf-16-le"), "", "hello", "utf-16-le"),
        ("hello there".encode("utf-16-be"), "", "hello there", "utf-16-be"),
        (GERMAN.encode("utf-32-be"), "", GERMAN, "utf-32-be"),
        (RUSSIAN.encode("cp1251") * 3, "", RUSSIAN * 3, "cp1251"),
        (RUSSIAN.encode("koi8-r") * 3, "", RUSSIAN * 3, "koi8-r"),
        (JAPANESE.encode("shift-jis") * 3, "", JAPANESE * 3, "cp932"),
        # Old files and logs have some control characters.
        (b"an old file\r\n" * 10 + b"\x1a", "", "an old file\r\n" * 10 + "\x1a", "utf-8"),
    ],
)  # fmt: skip
def test_a_text_is_read_in_the_charset_that_fits(
    content: bytes, declared: str, text: str, charset: str
) -> None:
    """A byte order mark, then the declaration, then UTF-8, then detection; nothing else is changed."""
    assert decode(content, declared) == (text, charset)


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        ('<html><meta charset="iso-8859-1"><p>ü'.encode("latin-1"), "cp1252"),
        (
            "<META http-equiv=Content-Type content='text/html; charset=koi8-r'><p>Привет".encode("koi8-r"),
            "koi8-r",
        ),
        ('<?xml version="1.0" encoding="windows-1251"?><p>Привет'.encode("cp1251"), "cp1251"),
        ("<meta charset=utf-16><p>ü".encode(), "utf-8"),
        ("<meta charset=nonsense><p>ü".encode(), "utf-8"),
    ],
)
def test_a_page_names_its_charset(content: bytes, charset: str) -> None:
    """HTML and XHTML may say it themselves, if what they say can be."""
    assert decode(content, "", markup=True) == (content.decode(charset), charset)


def test_the_declaration_wins_over_the_page() -> None:
    """As for browsers, the header comes first."""
    assert decode("<meta charset=koi8-r>ü".encode(), "text/html; charset=utf-8", markup=True)[1] == "utf-8"


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"a\0b\0\0\0c" * 9, NO_CHARSET),
        (b"text " * 1000 + b"\0", NO_CHARSET),
        (RUBBISH, NO_CHARSET),
        (b"\x01\x02 a", NO_CHARSET),
        (codecs.BOM_UTF8 + b"\xff", "it is marked as utf-8, which byte 3 is not (invalid start byte)"),
        (codecs.BOM_UTF16_LE + b"abc", "it is marked as utf-16, which byte 4 is not (truncated data)"),
        (codecs.BOM_UTF8 + b"a\0b", "it is marked as utf-8, and holds control characters as no text does"),
        ("Grüße, Öl und ".encode() + b"\xe2\x82", "byte 17 is not UTF-8 as what is before it"),
        ("これは".encode()[:-1], "byte 6 is not UTF-8 as what is before it"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_text_are_refused(content: bytes, detail: str) -> None:
    """Never mojibake, and never with NULs: the failure says what is wrong, and what would be right."""
    with pytest.raises(DocumentFailure) as caught:
        decode(content, "")
    assert (caught.value.reason, caught.value.detail) == (
        "undecodable",
        f"the document is no text: {detail}; upload it as UTF-8",
    )


def test_a_large_text_is_told_by_a_sample() -> None:
    """The time to detect a charset does not grow with the document, but that of decoding it."""
    content = GERMAN.encode("latin-1") * 200_000
    started = time.process_time()
    assert decode(content, "")[1] == "cp1252"
    assert time.process_time() - started < 2


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff"))


@given(TEXTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_any_unicode_text_is_read_as_it_was_written(text: str, codec: str) -> None:
    """Round trip through UTF-8, and through every Unicode encoding that is marked."""
    assert decode(text.encode(codec), "")[0] == text


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
def test_any_declared_latin_text_is_read_as_it_was_written(text: str) -> None:
    """Round trip through latin-1 where it is declared."""
    assert decode(text.encode("latin-1"), "text/plain; charset=latin-1")[0] == text


@given(st.binary(max_size=300), st.text(max_size=30) | st.sampled_from(sorted(set(aliases.values()))))
def test_any_bytes_are_text_or_refused(content: bytes, charset: str) -> None:
    """Whatever is declared, be it a codec of Python's that is none: no text has a NUL or half a pair."""
    for markup in (False, True):
        with contextlib.suppress(DocumentFailure):
            text, _ = decode(content, f"text/html; charset={charset}", markup=markup)
            assert "\0" not in text
            assert text.encode().decode() == text
