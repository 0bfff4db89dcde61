"""Where a fact comes from: nothing of the catalogues is without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import date


class Source(NamedTuple):
    """What was read, and the day of its state."""

    what: str
    date: date
