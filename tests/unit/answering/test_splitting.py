"""Where a text is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.worker.answering.splitting import OVERLAP, cut, resume

TEXTS = st.text(st.sampled_from(" \n\r.!a é漢🙂"), max_size=400) | st.text(max_size=400)


@given(TEXTS, st.integers(16, 200))
@example("a" * 30 + "🙂" * 30, 64)
@example("🙂" * 30 + "a" * 30, 64)
def test_pieces_cover_the_text(text: str, limit: int) -> None:
    """Each piece fits, goes further than the one before, and leaves no gap; no character is cut."""
    pieces: list[tuple[int, int]] = []
    while not pieces or pieces[-1][1] < len(text):
        start = resume(text, *pieces[-1], limit) if pieces else 0
        pieces.append((start, cut(text, start, limit)))
    assert pieces[0][0] == 0
    for (start, end), (next_start, next_end) in pairwise(pieces):
        assert start < next_start <= end < next_end
        assert len(text[next_start:end].encode()) <= limit // OVERLAP
    assert all(len(text[start:end].encode()) <= limit for start, end in pieces)
    joined = "".join(
        text[max(start, before) : end] for (_, before), (start, end) in pairwise([(0, 0), *pieces])
    )
    assert joined == text


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("All of it.", "All of it."),
        ("One. Two. Six.\n\nFour.\nFive.", "One. Two. Six.\n\n"),
        ("One. Two. Six\r\n \r\nFo.\r\nFive.", "One. Two. Six\r\n \r\n"),
        ("Early.\n\nThen one line.\nAnd more", "Early.\n\nThen one line.\n"),
        ("One sentence, and. Another one", "One sentence, and. "),
        ('He said "one two." Then no more', 'He said "one two." '),
        ("一二三四五。六七八", "一二三四五。"),
        ("words and more words and so on", "words and more words and "),
        ("x" * 40, "x" * 25),
        ("漢" * 20, "漢" * 8),
    ],
    ids=[
        "whole",
        "paragraph",
        "paragraph of Windows",
        "a paragraph too early",
        "sentence",
        "quoted sentence",
        "ideographic sentence",
        "word",
        "nothing",
        "no half character",
    ],
)
def test_a_piece_ends_at_the_best_bound(text: str, piece: str) -> None:
    """A paragraph before a line, a sentence, a word; the last one, but none in the first half."""
    assert text[: cut(text, 0, 25)] == piece


@pytest.mark.parametrize(
    ("tail", "repeated"),
    [
        ("a sentence. Then a part", "Then a part"),
        ("and a line\nof a few words", "of a few words"),
        ("unbroken" * 3, "brokenunbrokenunbroken"[-20:]),
        ("ends here.\n", "here.\n"),
    ],
)
def test_what_a_piece_repeats(tail: str, repeated: str) -> None:
    """The end of the one before, from a line, a sentence or a word on, and never nothing."""
    text = "x" * 1000 + tail + "y" * 100
    end = 1000 + len(tail)
    assert text[resume(text, 0, end, 20 * OVERLAP) : end] == repeated


@pytest.mark.parametrize(("size", "repeated"), [(1, 0), (15, 0), (16, 1), (400, 25), (2000, 62)])
def test_no_piece_is_repeated_whole(size: int, repeated: int) -> None:
    """A sixteenth of the piece, and of what may be in the next one, is the most."""
    assert size - resume("x" * 3000, 0, size, 1000) == repeated
