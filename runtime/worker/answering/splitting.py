"""Where a long text is cut: at the end of a paragraph if there is one, never within a character. Pure."""

from __future__ import annotations

import re

# Best first; the cut is where the match ends.
BOUNDS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n[ \t\r]*\n",  # a paragraph
        r"\n",  # a line
        r"[.!?…][\"'”’»)\]]*\s|[。！？]",  # noqa: RUF001  a sentence, also in scripts with marks of their own
        r"\s",  # a word
    )
)

OVERLAP = 16
"""A piece repeats at most this fraction of what may be in one: so that what a cut parts can be read whole."""


def cut(text: str, start: int, limit_bytes: int) -> int:
    """The end of a piece that begins at `start`: all the rest, or up to the best bound in its second half.

    Args:
        text: the document.
        start: its character at which the piece begins.
        limit_bytes: of UTF-8; at least 4, so that any character fits.
    """
    window = text[start : start + limit_bytes].encode()[:limit_bytes].decode(errors="ignore")
    if start + len(window) == len(text):
        return len(text)
    for bound in BOUNDS:
        ends = [found.end() for found in bound.finditer(window, len(window) // 2)]
        if ends:
            return start + ends[-1]
    return start + len(window)


def resume(text: str, start: int, end: int, limit_bytes: int) -> int:
    """Where the piece after this one begins: a little before its end, after a bound if there is one."""
    whole = text[start:end].encode()
    overlap = min(limit_bytes, len(whole)) // OVERLAP
    tail = whole[len(whole) - overlap :].decode(errors="ignore")
    for bound in BOUNDS[1:]:
        found = bound.search(tail, 0, len(tail) - 1)
        if found:
            return end - len(tail) + found.end()
    return end - len(tail)
