"""Bytes as text: which charset they are in, or why they are no text."""

from __future__ import annotations

import codecs
import re
from email.message import Message

from charset_normalizer import CharsetMatches, from_bytes

from runtime.worker.failures import DocumentFailure

_BOMS = (
    # Longest first: UTF-32's begins as UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_DETECTED = (
    "cp1252",
    "cp932",
    "gb18030",
    "big5",
    "euc_jp",
    "euc_kr",
    "cp1251",
    "koi8-r",
    "iso8859-2",
    "cp1250",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
)
"""Charsets that documents are found in undeclared (WHATWG Encoding), the likelier first: it breaks ties."""

_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
"""Those in which a text has NULs; where it has none, any bytes would pass for one of them."""

_NO_CHARSETS = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7"})
"""Python's codecs that transform text, some in quadratic time, and one that browsers banned."""

_META = re.compile(
    rb"""<(?:meta|\?xml)\b[^>]*?(?:charset|encoding)\s*=\s*["']?\s*([\w:.-]+)""", re.IGNORECASE
)
_META_BYTES = 4096

_SAMPLE_BYTES = 64 * 1024
"""What is detected upon, from the first byte that is not UTF-8: whole documents take seconds."""

_UTF8_EVIDENCE = 3
"""So many continuation bytes in place are no coincidence: the document is UTF-8, and damaged."""

_CONTROL = re.compile(r"[\x00-\x06\x0e-\x19\x1c-\x1f]")
_CONTROL_SHARE = 0.01


def decode(content: bytes, declared: str, *, markup: bool = False) -> tuple[str, str]:
    """The text, without a byte order mark, and the name of the codec that it took.

    Args:
        content: the whole document.
        declared: a content type that may name a charset.
        markup: whether the document may name its charset itself, as HTML does.

    Raises:
        DocumentFailure: `undecodable`.
    """
    for bom, codec in _BOMS:
        if content.startswith(bom):
            return _strictly(content, codec), codec
    for name in (_declared(declared), _in_markup(content) if markup else ""):
        codec = _codec(name)
        try:
            text = content.decode(codec) if codec else "\0"
        except (LookupError, ValueError):
            continue
        if not _rubbish(text):
            return text.lstrip("\ufeff"), codec
    try:
        text = content.decode()
        start = text.find("\0")
    except UnicodeDecodeError as error:
        if error.start - len(content[: error.start].decode()) >= _UTF8_EVIDENCE:
            raise _undecodable(f"byte {error.start} is not UTF-8 as what is before it") from None
        return _detect(content, error.start)
    if not _rubbish(text):
        return text, "utf-8"
    return _detect(content, max(0, start))


def _strictly(content: bytes, codec: str) -> str:
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        found = f"it is marked as {codec}, which byte {error.start} is not ({error.reason})"
        raise _undecodable(found) from None
    if _rubbish(text):
        raise _undecodable(f"it is marked as {codec}, and holds control characters as no text does")
    return text.lstrip("\ufeff")


def _detect(content: bytes, start: int) -> tuple[str, str]:
    # From a multiple of 4, so that UTF-16 and UTF-32 stay in step.
    first = start & ~3
    sample = content[first : first + _SAMPLE_BYTES]
    charsets = _WIDE if b"\0" in sample else _DETECTED
    # ASCII says nothing, and a lot of it drowns the rest; but a lone sign needs it around.
    words = b" ".join(word for word in sample.split() if not word.isascii())
    matches = (charsets is _DETECTED and _matches(words, charsets)) or _matches(sample, charsets)
    likely = sorted(
        (match.chaos, -round(match.coherence, 1), charsets.index(codec), codec)
        for match in matches
        for codec in (_codec(name) for name in match.could_be_from_charset)
        if codec in charsets
    )
    for *_, codec in likely:
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        if not _rubbish(text):
            return text.lstrip("\ufeff"), codec
    raise _undecodable("it is neither UTF-8 nor text in any other charset that could be told")


def _matches(sample: bytes, charsets: tuple[str, ...]) -> CharsetMatches:
    return from_bytes(sample, cp_isolation=list(charsets), preemptive_behaviour=False)


def _declared(content_type: str) -> str:
    header = Message()
    header["Content-Type"] = content_type
    return header.get_content_charset("")


def _in_markup(content: bytes) -> str:
    found = _META.search(content[:_META_BYTES])
    name = found[1].decode("ascii", "replace") if found else ""
    # What could be searched as bytes is not in UTF-16, whatever it says (HTML standard, 13.2.3.2).
    return "" if _codec(name).startswith(("utf-16", "utf-32")) else name


def _codec(name: str) -> str:
    """Python's name of a charset, empty for what is none."""
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        return ""
    # As all browsers do: who says latin-1 means Windows (WHATWG Encoding, "Names and labels").
    return "" if codec in _NO_CHARSETS else "cp1252" if codec == "iso8859-1" else codec


def _rubbish(text: str) -> bool:
    """Whether it has a NUL, or more of the other control characters than a log or an old file may have."""
    sample = text[:_SAMPLE_BYTES]
    return "\0" in text or len(_CONTROL.findall(sample)) > len(sample) * _CONTROL_SHARE


def _undecodable(found: str) -> DocumentFailure:
    return DocumentFailure("undecodable", f"the document is no text: {found}; upload it as UTF-8")
