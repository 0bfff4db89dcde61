"""What can happen to a request to AWS, and the rules that say which request meets what."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal[
    "throttle", "error", "reset", "reset-after", "timeout", "slow",
    "conflict", "exists", "duplicate", "ghost", "copy", "lost",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request instead of its plain way.

    Attributes:
        kind: its name in the tally.
        seconds: how long it is held before; a client that leaves in that time ends it, unforwarded.
    """

    kind: Kind
    seconds: float = 0.0


THROTTLE = Fault("throttle")
"""S3: 503 SlowDown; SQS: RequestThrottled; EventBridge: ThrottlingException."""

ERROR = Fault("error")
"""500: S3 InternalError, the others InternalFailure."""

RESET = Fault("reset")
"""The connection is reset, and nothing was done."""

RESET_AFTER = Fault("reset-after")
"""The connection is reset after all was done: the client cannot tell it from RESET."""

CONFLICT = Fault("conflict")
"""A conditional PutObject gets 409 ConditionalRequestConflict, and nothing was done."""

EXISTS = Fault("exists")
"""A conditional PutObject is done and gets 412, as the SDK's second try of a put whose answer was lost."""

DUPLICATE = Fault("duplicate")
"""A message in flight is handed out once more, and both receipts work."""

GHOST = Fault("ghost")
"""A message in flight is handed out once more, with a receipt that is refused whatever it is used for."""

COPY = Fault("copy")
"""The body of a message in flight is sent again, as another message: EventBridge delivers at least once."""

LOST = Fault("lost")
"""The message of this delete or change is given to others, and the receipt is refused."""


def slow(seconds: float) -> Fault:
    """The request is forwarded later."""
    return Fault("slow", seconds)


def timeout(seconds: float = math.inf) -> Fault:
    """Nothing is done or answered, until the client gives up or the time has passed."""
    return Fault("timeout", seconds)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as rules see it.

    Attributes:
        service: s3, sqs or events.
        operation: AWS's name, such as `GetObject`.
        number: how many requests of this operation there were, with this one.
        attempt: which of the SDK's attempts at one call it is, from 1.
        call: what all attempts at one call have in common.
        path: with query.
        headers: with names in lower case.
        body: as sent.
    """

    service: str
    operation: str
    number: int
    attempt: int
    call: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def parameters(self) -> dict[str, Any]:
        """What an SQS or EventBridge operation was given."""
        return json.loads(self.body)


def on(operation: str, fault: Fault, times: float = math.inf) -> Callable[[Request], Fault | None]:
    """A rule: the first requests of an operation from now on, retries counted, meet a fault."""
    left = iter(range(int(times))) if times < math.inf else None
    return lambda request: (
        fault if request.operation == operation and (left is None or next(left, None) is not None) else None
    )


@dataclass
class Chaos:
    """A rule: each operation's requests meet faults with given probabilities, by the dice of a seed.

    The fate of an operation's nth call depends on the seed and n only.

    Attributes:
        seed: of the dice.
        odds: for each operation the probability of each fault; together at most 1.
        persistent: the share of faults that meet every retry of the call too, so that the caller sees them.
    """

    seed: int
    odds: Mapping[str, Mapping[Fault, float]]
    persistent: float = 0.0
    _fates: dict[str, Fault] = field(default_factory=dict)

    def __call__(self, request: Request) -> Fault | None:
        """Throws the dice for a call's first attempt."""
        if request.attempt > 1:
            return self._fates.get(request.call)
        dice = random.Random(f"{self.seed} {request.operation} {request.number}")  # noqa: S311
        odds = self.odds.get(request.operation, {})
        fates = [*odds, None]
        (fault,) = dice.choices(fates, [*odds.values(), 1 - sum(odds.values())])
        if fault and dice.random() < self.persistent:
            self._fates[request.call] = fault
        return fault
