"""Documents in pieces, before a model whose tokens are known."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.worker.answering import pieces
from runtime.worker.answering.errors import DoesNotFitError
from runtime.worker.answering.pieces import MIN_PIECE_BYTES, ask_in_pieces
from runtime.worker.answering.room import Room
from runtime.worker.failures import DocumentFailure, TransientFailure


@dataclass
class Model:
    """A model whose tokens are so many bytes each.

    Attributes:
        room: what it has room for.
        bytes_per_token: of any text.
        asked: the texts so far.
        counts: whether it says how many tokens they had.
    """

    room: Room
    bytes_per_token: float
    counts: bool = True
    asked: list[str] = field(default_factory=list)

    async def ask(self, text: str) -> tuple[str, int]:
        """Says the text again."""
        self.asked.append(text)
        tokens = int((self.room.overhead_bytes + len(text.encode())) / self.bytes_per_token) + 1
        if tokens > self.room.tokens:
            raise DoesNotFitError("too_long", "too long")
        return text, tokens if self.counts else 0

    def put(self, text: str) -> list[tuple[int, int, str]]:
        """What the code under test makes of a document."""
        return asyncio.run(ask_in_pieces(self.room, text, self.ask))


def room(tokens: int = 1000, overhead_bytes: int = 100) -> Room:
    """Room for a document."""
    return Room(tokens=tokens, overhead_bytes=overhead_bytes, num_ctx=tokens + 100)


@given(
    st.text(st.sampled_from("ab .\n漢🙂"), min_size=1, max_size=50).map(lambda text: text * 100),
    st.sampled_from([0.7, 1, 2, 3, 4, 6]),
    st.booleans(),
)
def test_the_model_sees_all_of_it(text: str, bytes_per_token: float, counts: bool) -> None:  # noqa: FBT001
    """Whatever a token is, the pieces cover the document in order, and what was got is of each."""
    found = Model(room(), bytes_per_token, counts).put(text)
    assert (found[0][0], found[-1][1]) == (0, len(text))
    for (start, end, _), (next_start, next_end, _) in pairwise(found):
        assert start < next_start <= end < next_end
    assert all(got == text[start:end] for start, end, got in found)


@pytest.mark.parametrize("size", [1, 3900])
def test_what_fits_by_the_rule_of_thumb_is_asked_whole(size: int) -> None:
    """A whole document is better than its pieces, and a refusal is cheap."""
    model = Model(room(), 4.2)
    assert model.put("x" * size) == [(0, size, "x" * size)]
    assert len(model.asked) == 1


def test_what_cannot_fit_is_not_asked_whole() -> None:
    """One byte more, and the first piece is a cautious one."""
    model = Model(room(), 4.2)
    model.put("x" * 3901)
    assert len(model.asked[0]) == 1950
    model = Model(room(), 4.2)
    model.put("x" * 100_000)
    assert len(model.asked[0]) == 2900


def test_the_servers_counts_say_how_long_the_next_is() -> None:
    """Tokens of 8 bytes leave room for more than the estimate; 5 % of it is left free."""
    model = Model(room(), 8)
    model.put("x" * 40_000)
    measured = (100 + 2900) / 376 * 0.95
    assert len(model.asked[1]) == int(1000 * measured) - 100


def test_what_does_not_fit_is_halved() -> None:
    """Tokens of less than a byte are found by trying; from then on they are known."""
    model = Model(room(), 0.9)
    found = model.put("x" * 10_000)
    assert [len(text) for text in model.asked[:4]] == [2900, 1450, 725, 754]
    assert len(model.asked) - len(found) == 2


def test_a_prompt_that_leaves_no_room_is_told_apart() -> None:
    """Halving ends, and the failure names the prompt."""
    model = Model(room(overhead_bytes=5000), 4)
    with pytest.raises(DocumentFailure) as caught:
        model.put("x" * 10_000)
    assert [len(text) for text in model.asked] == [MIN_PIECE_BYTES]
    detail = (
        "even a piece of 256 bytes does not fit into num_ctx 1100 beside the prompt's 5000 bytes and an "
        "answer; raise num_ctx or shorten the prompt"
    )
    assert (caught.value.reason, caught.value.detail) == ("too_long", detail)


def test_a_short_text_that_does_not_fit_ends_as_well() -> None:
    """Nothing is halved below the least that is worth asking."""
    model = Model(room(tokens=100), 0.5)
    with pytest.raises(DocumentFailure, match="too_long: even a piece of 200 bytes"):
        model.put("x" * 200)
    assert len(model.asked) == 2


def test_too_many_pieces_by_estimate_are_not_begun() -> None:
    """No time goes into a document that would be given up at the end."""
    model = Model(room(), 4)
    with pytest.raises(DocumentFailure) as caught:
        model.put("x" * 2_900_001)
    assert (caught.value.reason, caught.value.detail, model.asked) == (
        "too_long",
        "a document of 2900001 bytes would be more than 1000 pieces; raise num_ctx, or split it",
        [],
    )


def test_too_many_pieces_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tokens are shorter than was thought, it ends there."""
    monkeypatch.setattr(pieces, "MAX_PIECES", 3)
    model = Model(room(), 1)
    with pytest.raises(
        DocumentFailure, match="too_long: a document of 8000 bytes would be more than 3 pieces"
    ):
        model.put("x" * 8000)
    assert sum(len(text) < 901 for text in model.asked) == 3


def test_another_failure_ends_it() -> None:
    """What a shorter text would not help is raised as it is."""

    async def ask(_text: str) -> tuple[str, int]:
        raise TransientFailure("busy", "busy")

    with pytest.raises(TransientFailure, match="busy"):
        asyncio.run(ask_in_pieces(room(), "x" * 100, ask))
