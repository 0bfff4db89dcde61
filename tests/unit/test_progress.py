"""What the lines of a download say: of the whole model, once a second, with a rate and the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog

from runtime.ollama import progress

if TYPE_CHECKING:
    from collections.abc import MutableMapping

WEIGHTS, CONFIG = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


class Told:
    """A progress whose clock stands still until it is moved, and its lines."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)
        with structlog.testing.capture_logs() as lines:
            self.progress = progress.Progress()
        self.lines: list[MutableMapping[str, Any]] = lines

    def say(self, after: float, *given: Any) -> None:  # noqa: ANN401  what a progress takes
        """Says it so many seconds later."""
        self.now += after
        with structlog.testing.capture_logs() as lines:
            self.progress(*given)
        self.lines += lines


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """A progress of a model of 1,000 bytes of which 100 are there."""
    told = Told(monkeypatch)
    told.progress.expect({WEIGHTS: 900, CONFIG: 100}, {WEIGHTS: 0, CONFIG: 100})
    return told


def test_bytes_rate_and_time_left_are_the_model_s(told: Told) -> None:
    """Of all blobs together, from the server's lines, which tell of one; lines in between are left out."""
    for after, done in ((0, 0), (0.5, 50), (0.5, 100), (1, 300)):
        told.say(after, f"pulling {'1' * 12}", done, 900)
    keys = ("status", "bytes", "total", "bytes_per_second", "eta_seconds")
    assert [tuple(line[key] for key in keys) for line in told.lines] == [
        ("pulling", 100, 1000, 0, None),
        ("pulling", 200, 1000, 100, 8),
        ("pulling", 400, 1000, 150, 4),
    ]


def test_the_rate_is_that_of_the_last_seconds(told: Told) -> None:
    """A registry that slows down shows, however fast it was."""
    told.say(0, f"pulling {'1' * 12}", 0, 900)
    told.say(1, f"pulling {'1' * 12}", 800, 900)
    for second in range(12):
        told.say(1, f"pulling {'1' * 12}", 800 + second, 900)
    assert told.lines[-1]["bytes_per_second"] == 1


def test_a_step_that_counts_nothing_has_no_rate(told: Told) -> None:
    """Another step begins anew; what counts as progress of the registry only ever grows."""
    told.say(0, f"pulling {'1' * 12}", 500, 900)
    told.say(1, "verifying sha256 digest")
    told.say(1, f"pulling {'1' * 12}", 400, 900)
    assert (told.lines[1]["bytes_per_second"], told.lines[1]["eta_seconds"]) == (0, None)
    assert told.progress.furthest == 600
