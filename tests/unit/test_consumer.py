"""The loop: what is received when, what is in hand, and how it all ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from runtime.worker.aws import AwsFailure
from runtime.worker.consumer import (
    DEPTH_SECONDS,
    HAND_BACK_SECONDS,
    HANDS_PER_SLOT,
    PAUSE_SECONDS,
    Consumer,
)
from runtime.worker.failures import LostOwnershipError
from runtime.worker.queue import Message, Queue
from runtime.worker.turns import Turn, Turns
from tests.unit.clocks import HeldClock, settle, until
from tests.unit.records import SENT
from tests.unit.tasks import task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from runtime.worker.handler import Handler
    from runtime.worker.holding import Hold
    from runtime.worker.metrics import Metrics
    from runtime.worker.server import Server

AWAY = AwsFailure("receive_message", "500", "away")


class NotedTurns(Turns):
    """Turns that tell what depth they were told of."""

    def __init__(self, parallel: int, clock: HeldClock) -> None:
        super().__init__(parallel, clock)
        self.depths: list[bool] = []

    def note_depth(self, *, deep: bool) -> None:
        """Notes it as well."""
        self.depths.append(deep)
        super().note_depth(deep=deep)


class Loop:
    """A consumer and all that it joins.

    Attributes:
        messages: what polls give: a receipt, an error to raise; a poll waits where there is nothing.
        polls: how often the queue was polled; `polling` at once now, `most_polling` at most so far.
        hidden: what was shown or hidden.
        depth: how many messages wait, or what is raised instead; `asked` how often that was asked for.
        in_hand_told: the numbers that the metrics heard; `missed` how many heartbeats failed.
        handled: by their receipts, messages that came to the handler; those in `going` are still there.
        ended: how each of them ended: `done` or `cancelled`.
    """

    def __init__(self, **changes: object) -> None:
        self.clock, self.stop = HeldClock(), asyncio.Event()
        self.task = task(**changes)
        self.messages = asyncio.Queue[str | Exception]()
        self.polls = self.polling = self.most_polling = self.asked = self.missed = 0
        self.hidden: list[tuple[str, int]] = []
        self.hide_error: Exception | None = None
        self.depth: int | Exception = 0
        self.in_hand_told: list[int] = []
        self.handled: list[str] = []
        self.going: dict[str, asyncio.Event] = {}
        self.ended: dict[str, str] = {}
        self.break_down: Exception | None = None
        self.ready = asyncio.Event()
        self.ready.set()
        self.kept: Callable[[], Any] = asyncio.Event().wait
        self.turns = NotedTurns(self.task.parallel, self.clock)
        self.consumer = Consumer(
            task=self.task,
            queue=cast("Queue", self),
            handler=cast("Handler", self),
            server=cast("Server", self),
            turns=self.turns,
            metrics=cast("Metrics", self),
            clock=self.clock,
        )
        self.running: asyncio.Task[None]

    # The queue

    async def receive(self) -> Message:
        """One poll."""
        self.polls += 1
        self.polling += 1
        self.most_polling = max(self.most_polling, self.polling)
        try:
            found = await self.messages.get()
        finally:
            self.polling -= 1
        if isinstance(found, Exception):
            raise found
        return Message(body="{}", receipt=found, receives=1, sent=SENT)

    async def hide(self, receipt: str, seconds: int) -> None:
        """Hides or shows."""
        self.hidden.append((receipt, seconds))
        if self.hide_error:
            raise self.hide_error

    async def waiting(self) -> int:
        """Says how many."""
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.depth, Exception):
            raise self.depth
        return self.depth

    # The server and the metrics

    async def keep(self) -> None:
        """Keeps the model loaded."""
        await self.kept()

    async def wait_until_ready(self) -> None:
        """Waits."""
        await self.ready.wait()

    def heartbeat_failed(self) -> None:
        """Hears of it."""
        self.missed += 1

    def in_hand(self, messages: int) -> None:
        """Hears of it."""
        self.in_hand_told.append(messages)

    # The handler

    async def handle(self, hold: Hold, turn: Turn) -> None:
        """Takes a slot until told to leave."""
        receipt = hold.message.receipt
        self.handled.append(receipt)
        going = self.going[receipt] = asyncio.Event()
        try:
            async with turn.at_server():
                if self.break_down:
                    raise self.break_down
                await going.wait()
            self.ended[receipt] = "done"
        except asyncio.CancelledError:
            self.ended[receipt] = "cancelled"
            raise

    # What a test does

    def start(self) -> None:
        """Starts the loop."""
        self.running = asyncio.ensure_future(self.consumer.run(self.stop))

    async def end(self) -> None:
        """Waits for its end."""
        await asyncio.wait_for(asyncio.shield(self.running), 5)


@pytest.fixture
async def make() -> AsyncGenerator[Callable[..., Loop]]:
    """Makes loops that run; what still runs at the end is cancelled."""
    loops: list[Loop] = []

    def loop(*, start: bool = True, **changes: Any) -> Loop:  # noqa: ANN401
        loops.append(Loop(**changes))
        if start:
            loops[-1].start()
        return loops[-1]

    yield loop
    for each in loops:
        each.running.cancel()
        await asyncio.wait({each.running})


async def test_nothing_is_received_before_the_model_answers(make: Callable[..., Loop]) -> None:
    """Nor is it ever again while it does not."""
    loop = make(start=False)
    loop.ready.clear()
    loop.start()
    await settle()
    assert loop.polls == 0
    loop.ready.set()
    await until(lambda: loop.polls == 1)
    loop.ready.clear()
    loop.messages.put_nowait("a")
    await until(lambda: loop.handled == ["a"])
    loop.going["a"].set()
    await settle()
    assert (loop.ended, loop.polls) == ({"a": "done"}, 1)
    loop.ready.set()
    await until(lambda: loop.polls == 2)


@pytest.mark.parametrize("parallel", [1, 4])
async def test_one_hand_polls_at_a_time_and_each_slot_gets_a_document(
    make: Callable[..., Loop], parallel: int
) -> None:
    """However many hands there are; what has no slot stays in the queue."""
    loop = make(parallel=parallel)
    names = [str(number) for number in range(2 * parallel)]
    for name in names:
        loop.messages.put_nowait(name)
    await until(lambda: len(loop.handled) == parallel)
    await settle()
    assert (loop.handled, loop.most_polling) == (names[:parallel], 1)
    assert loop.in_hand_told == list(range(1, parallel + 1))
    for name in names[:parallel]:
        loop.going[name].set()
    await until(lambda: len(loop.handled) == 2 * parallel)
    assert loop.handled == names


async def test_hands_are_three_for_each_slot(make: Callable[..., Loop]) -> None:
    """One document at the server, one before it and one after it; no more are ever in hand."""
    loop = make(parallel=2)
    stuck = asyncio.Event()

    async def handle(hold: Hold, turn: Turn) -> None:
        loop.handled.append(hold.message.receipt)
        turn.end()  # it has left the server, and its result takes for ever to be put away
        await stuck.wait()

    loop.handle = handle
    for number in range(10):
        loop.messages.put_nowait(str(number))
    await settle()
    await settle()
    assert len(loop.handled) == HANDS_PER_SLOT * 2 == 6


async def test_a_worker_is_busy_while_anything_is_in_hand(make: Callable[..., Loop]) -> None:
    """From the receive to the end; the metrics hear of each change."""
    loop = make()
    await settle()
    assert not loop.consumer.busy
    loop.messages.put_nowait("a")
    await until(lambda: loop.handled)
    assert loop.consumer.busy
    loop.going["a"].set()
    await until(lambda: not loop.consumer.busy)
    assert loop.in_hand_told == [1, 0]


async def test_a_document_is_kept_hidden_while_it_is_in_hand(make: Callable[..., Loop]) -> None:
    """Every third of the task's visibility."""
    loop = make(visibility_seconds=30)
    loop.messages.put_nowait("a")
    await until(lambda: loop.handled)
    for _ in range(3):
        await loop.clock.move(10)
    assert (loop.hidden, loop.missed) == ([("a", 30)] * 3, 0)
    loop.hide_error = AWAY
    await loop.clock.move(10)
    assert loop.missed == 1


async def test_a_document_that_never_comes_to_the_server_leaves_its_place(make: Callable[..., Loop]) -> None:
    """Whatever ended it, the next one is received, and nothing is held for it."""
    loop = make()

    async def handle(hold: Hold, turn: Turn) -> None:
        assert not turn.slots
        loop.handled.append(hold.message.receipt)

    loop.handle = handle
    for number in range(10):
        loop.messages.put_nowait(str(number))
    await until(lambda: len(loop.handled) == 10)


# The end


async def test_an_idle_worker_ends_at_once(make: Callable[..., Loop]) -> None:
    """Whether it waits for its model, for a message is another matter: that is at most one poll."""
    loop = make(start=False)
    loop.ready.clear()
    loop.start()
    await settle()
    loop.stop.set()
    await loop.end()
    assert (loop.polls, loop.hidden) == (0, [])


@pytest.mark.parametrize("error", [None, AWAY, LostOwnershipError("gone")], ids=["shown", "away", "lost"])
async def test_a_message_that_comes_after_the_stop_goes_back_at_once(
    make: Callable[..., Loop], error: Exception | None
) -> None:
    """The poll under way is waited for, so that no message is handed to a socket that nobody reads."""
    loop = make()
    loop.hide_error = error
    await until(lambda: loop.polling == 1)
    loop.stop.set()
    await settle()
    assert not loop.running.done()
    loop.messages.put_nowait("late")
    await loop.end()
    assert (loop.hidden, loop.handled, loop.in_hand_told) == ([("late", 0)], [], [])


async def test_what_is_in_hand_is_finished_within_the_grace_time(make: Callable[..., Loop]) -> None:
    """And nothing else is taken, though it waits."""
    loop = make(parallel=2, grace_seconds=600)
    for name in "ab":
        loop.messages.put_nowait(name)
    await until(lambda: len(loop.handled) == 2)
    loop.messages.put_nowait("c")
    loop.stop.set()
    await settle()
    assert not loop.running.done()
    for name in "ab":
        loop.going[name].set()
    await loop.end()
    assert (loop.ended, loop.messages.qsize()) == ({"a": "done", "b": "done"}, 1)


@pytest.mark.parametrize("grace_seconds", [1, HAND_BACK_SECONDS])
async def test_what_outlasts_the_grace_time_is_cancelled_and_waited_for(
    make: Callable[..., Loop], grace_seconds: int
) -> None:
    """What the grace time keeps for handing back is not waited first; whoever ended before is done."""
    loop = make(parallel=2, grace_seconds=grace_seconds)
    for name in "ab":
        loop.messages.put_nowait(name)
    await until(lambda: len(loop.handled) == 2)
    loop.going["a"].set()
    await settle()
    loop.messages.put_nowait("c")
    await until(lambda: "c" in loop.handled)
    loop.stop.set()
    await loop.end()
    assert loop.ended == {"a": "done", "b": "cancelled", "c": "cancelled"}
    assert loop.in_hand_told[-1] == 0


@pytest.mark.parametrize("where", ["hand", "server", "depth", "poll"])
async def test_an_error_that_nobody_expected_ends_all_of_them(make: Callable[..., Loop], where: str) -> None:
    """It comes out, and no document is left in hand."""
    loop = make(start=False, parallel=2)
    broken, error = asyncio.Event(), ZeroDivisionError()

    async def keep() -> None:
        await broken.wait()
        raise error

    if where == "server":
        loop.kept = keep
    loop.start()
    loop.messages.put_nowait("a")
    await until(lambda: loop.handled == ["a"])
    broken.set()
    if where == "hand":
        loop.break_down = error
    if where == "depth":
        loop.depth = error
    loop.messages.put_nowait(error if where == "poll" else "b")
    with pytest.raises(ExceptionGroup) as caught:
        await loop.end()
    assert caught.value.exceptions == (error,)
    assert loop.ended["a"] == "cancelled"
    assert not loop.consumer.busy


async def test_a_poll_that_fails_is_not_repeated_at_once(make: Callable[..., Loop]) -> None:
    """SQS is gone, or forbids it; nobody else polls meanwhile."""
    loop = make(parallel=2)
    loop.messages.put_nowait(AWAY)
    await settle()
    assert loop.polls == 1
    await loop.clock.move(PAUSE_SECONDS - 0.1)
    assert loop.polls == 1
    await loop.clock.move(0.1)
    assert loop.polls == 2


async def test_a_worker_that_pauses_ends_at_once(make: Callable[..., Loop]) -> None:
    """There is nothing to wait for."""
    loop = make()
    loop.messages.put_nowait(AWAY)
    await settle()
    loop.stop.set()
    await loop.end()
    assert loop.polls == 1


# The depth


async def test_the_depth_is_asked_for_only_while_every_slot_is_taken(make: Callable[..., Loop]) -> None:
    """Then every few seconds: it decides whether documents are taken ahead, which is idle talk before."""
    loop = make(parallel=2)
    loop.messages.put_nowait("a")
    await until(lambda: loop.handled)
    await loop.clock.move(10 * DEPTH_SECONDS)
    assert loop.asked == 0
    loop.messages.put_nowait("b")
    await until(lambda: loop.asked)
    await settle()
    assert loop.asked == 1
    await loop.clock.move(DEPTH_SECONDS - 0.1)
    assert loop.asked == 1
    await loop.clock.move(0.1)
    assert loop.asked == 2
    loop.going["a"].set()
    await settle()
    await loop.clock.move(10 * DEPTH_SECONDS)
    assert loop.asked == 2


async def test_a_deep_queue_is_not_believed_for_ever(make: Callable[..., Loop]) -> None:
    """Once a slot is free and the look is old, nothing is taken ahead until the next look."""
    loop = make(parallel=1, max_instances=1)
    loop.depth = 9
    loop.messages.put_nowait("a")
    await until(lambda: loop.turns.depths)
    assert loop.turns.depths == [True]
    loop.going["a"].set()
    await until(lambda: loop.ended == {"a": "done"})
    await loop.clock.move(DEPTH_SECONDS)
    assert loop.turns.depths == [True, False]


@pytest.mark.parametrize(
    ("depth", "max_instances", "deep"),
    [(7, 4, False), (8, 4, True), (1, 0, False), (2, 0, True), (AWAY, 0, False)],
)
async def test_a_queue_is_deep_when_every_slot_of_every_pod_has_one_waiting(
    make: Callable[..., Loop], depth: int | Exception, max_instances: int, *, deep: bool
) -> None:
    """As far as is known: a queue that does not say counts as shallow."""
    loop = make(parallel=2, max_instances=max_instances)
    loop.depth = depth
    for name in "ab":
        loop.messages.put_nowait(name)
    await until(lambda: loop.turns.depths)
    assert loop.turns.depths == [deep]


async def test_a_document_taken_ahead_waits_in_hand(make: Callable[..., Loop]) -> None:
    """From a deep queue, once answers are known to be quick, as many again as there are slots."""
    loop = make(parallel=1)
    loop.depth = 1
    for name in "abcd":
        loop.messages.put_nowait(name)
    await until(lambda: loop.handled)
    loop.going["a"].set()
    await until(lambda: len(loop.handled) == 3)
    await settle()
    assert loop.handled == ["a", "b", "c"]
