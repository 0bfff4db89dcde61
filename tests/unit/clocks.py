"""Time that a test holds, and ways to let everybody go on until nothing is left to do."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.unit.records import SENT

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Time that passes in sleeps alone, each of which takes a turn of the loop."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """The time of day."""
        return SENT + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """The same in seconds."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Lets the time pass at once."""
        self.seconds += seconds
        await asyncio.sleep(0)


class HeldClock(Clock):
    """Time that passes only when a test moves it; whoever sleeps waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Waits until the test has moved time so far."""
        until = self.seconds + seconds
        while self.seconds < until:
            await self._moved.wait()

    async def move(self, seconds: float) -> None:
        """Lets time pass, and everybody do what is due."""
        self.seconds += seconds
        self._moved.set()
        self._moved = asyncio.Event()
        await settle()


async def settle() -> None:
    """Lets everybody go on who can."""
    for _ in range(30):
        await asyncio.sleep(0)


async def until(true: Callable[[], object]) -> None:
    """Lets everybody go on until something is true, which takes no time."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  fakes set no events
            await asyncio.sleep(0)
