"""How much of a document is thought to fit."""

from __future__ import annotations

import pytest

from runtime.spec import Options, Sampling, TaskSpec
from runtime.worker.answering import prepare
from runtime.worker.answering.room import Room
from tests.unit.answering.server import task


def room(of: TaskSpec) -> Room:
    """The room for any document of a task."""
    return Room.of(of, prepare(of, text="x", images=(), inputs={}, sampling=Sampling()))


@pytest.mark.parametrize(
    ("of", "tokens", "overhead_bytes"),
    [
        (task(options=Options(num_ctx=1024, num_predict=64)), 960, 10),
        (task(options=Options(num_ctx=1024, num_predict=2048), system="Bé."), 512, 16),
        (task(options=Options(num_ctx=1024, num_predict=64), task="embed"), 1024, 11),
    ],
    ids=["usual", "long answers", "vectors"],
)
def test_what_the_context_has_room_for(of: TaskSpec, tokens: int, overhead_bytes: int) -> None:
    """All but the answer, for which half has to do; vectors need no room; prompts count in bytes."""
    assert room(of) == Room(tokens=tokens, overhead_bytes=overhead_bytes, num_ctx=1024)


def test_room_in_bytes() -> None:
    """Less what goes with every piece, and less than none if not even that fits."""
    assert [Room(100, 50, 128).bytes_at(each) for each in (4, 0.5, 0.25)] == [350, 0, -25]


def test_an_estimate_of_tokens() -> None:
    """Four bytes each, what goes with every piece among them."""
    assert Room(100, 50, 128).estimate_tokens("é" * 10) == 17
