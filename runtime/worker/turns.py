"""Whose turn it is at the model server: `parallel` documents at once, or one alone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from runtime.worker.clock import SYSTEM, Clock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

AHEAD_SECONDS = 30.0
"""How long a document waits for its turn; where answers take longer, nothing is gained by one ahead."""


class NoTurnError(Exception):
    """There is no turn for a document that waited for one: somebody else shall have it."""


class Turns:
    """The server's slots, who is at one, and who comes next.

    At most as many documents are on their way to the server as it has slots free, so that none waits in a
    busy pod while another pod is idle. While the queue is deep enough for everybody, as many again as there
    are slots are taken ahead, so that the server never waits for the next one.
    """

    def __init__(self, parallel: int, clock: Clock = SYSTEM) -> None:
        self._parallel = parallel
        self._clock = clock
        self._coming = 0
        self._waiting: list[Turn] = []
        self._there: set[Turn] = set()
        self._deep = False
        self._quick = False
        self._closed = False
        self._change = asyncio.Event()

    async def enter(self) -> Turn | None:
        """Waits until one more document may be received; None when no more are to be."""
        await self.until(lambda: self._closed or self._may_enter())
        if self._closed:
            return None
        self._coming += 1
        return Turn(self)

    @property
    def full(self) -> bool:
        """Whether every slot is taken."""
        return self._taken == self._parallel

    @property
    def _taken(self) -> int:
        return sum(turn.slots for turn in self._there)

    def nobody_but(self, turn: Turn) -> bool:
        """Whether no other document is on its way to the server, or there."""
        return not self._coming and self._there == {turn}

    async def until(self, true: Callable[[], bool]) -> None:
        """Waits until something is true of the turns; it still is when this returns."""
        while not true():
            await self._change.wait()

    def note_depth(self, *, deep: bool) -> None:
        """Takes note of whether more documents wait than all workers together have slots."""
        self._deep = deep
        self._changed()

    def close(self) -> None:
        """Nobody enters any more, and who waits for a slot gets none."""
        self._closed = True
        self._changed()

    def _may_enter(self) -> bool:
        if any(turn.alone for turn in (*self._waiting, *self._there)):
            return False
        ahead = self._deep and self._quick and self._coming < self._parallel
        return ahead or self._coming + self._taken < self._parallel

    async def take(self, turn: Turn) -> None:
        """Waits for a slot; for all of them, if the turn is to be alone.

        Raises:
            NoTurnError: the worker is going, or it took too long.
        """
        wanted = self._parallel if turn.alone else 1
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(None if turn.alone else AHEAD_SECONDS):
                await self.until(lambda: self._closed or self._is_next(turn, wanted))
            if not self._is_next(turn, wanted):
                raise NoTurnError("the worker is going")
            turn.slots = wanted
            self._there.add(turn)
            self._coming -= 1
            turn.coming = False
        except TimeoutError:
            self._quick = False
            raise NoTurnError(f"no slot became free within {AHEAD_SECONDS:g} s") from None
        finally:
            self._waiting.remove(turn)
            self._changed()

    def _is_next(self, turn: Turn, wanted: int) -> bool:
        return self._waiting[0] is turn and self._taken + wanted <= self._parallel

    def end(self, turn: Turn) -> None:
        """Takes back what a turn has; safe to repeat."""
        self._there.discard(turn)
        self._coming -= turn.coming
        turn.coming = False
        self._changed()

    @contextlib.asynccontextmanager
    async def at_server(self, turn: Turn) -> AsyncGenerator[None]:
        """A turn's time at the server: from when there is a slot to the end of the block."""
        await self.take(turn)
        started = self._clock.monotonic()
        try:
            yield
        finally:
            self._quick = self._clock.monotonic() - started < AHEAD_SECONDS
            self.end(turn)

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


class Turn:
    """One document's way to the server and back.

    Attributes:
        coming: whether it is on its way there.
        alone: whether it is to have nobody beside it.
        slots: how many it takes at the server.
    """

    def __init__(self, turns: Turns) -> None:
        self.coming = True
        self.alone = False
        self.slots = 0
        self._turns = turns

    @property
    def by_itself(self) -> bool:
        """Whether no other document is on its way to the server, or there."""
        return self._turns.nobody_but(self)

    def at_server(self, *, alone: bool = False) -> contextlib.AbstractAsyncContextManager[None]:
        """The time at the server; entering it waits for a slot.

        Raises:
            NoTurnError: there is none.
        """
        self.alone = alone
        return self._turns.at_server(self)

    def end(self) -> None:
        """Gives back what it has."""
        self._turns.end(self)
