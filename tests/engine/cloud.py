"""The cloud behind the provider doubles: what exists, what was asked for, and what goes wrong."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Refused(Exception):
    """The cloud does not do it; the message is its reason."""


class Unready(Exception):
    """The cloud did it, but what it made never becomes ready; the message is its reason."""


def label(urn: str) -> str:
    """A resource's kind and logical name, such as `Job summarize-model`."""
    kinds, name = urn.split("::", 3)[2:]
    return f"{kinds.rpartition(':')[2]} {name}"


@dataclass(slots=True)
class Thing:
    """One object in the cloud.

    Attributes:
        urn: whose it is.
        inputs: the properties that the program gave last.
        properties: all of them, as the cloud holds them now.
        unready: why it is not ready, empty where it is.
    """

    urn: str
    inputs: dict[str, Any]
    properties: dict[str, Any]
    unready: str = ""


@dataclass(slots=True)
class Cloud:
    """Objects by ID, a log of operations, and what happens on the way.

    Attributes:
        things: what exists.
        log: each operation when it starts, such as ("delete", "Queue summarize"), and when it has ended,
            ("deleted", ...).
        before: what to do before an operation, such as ("create", "Queue summarize"): wait, or raise.
        after: what to do when it was done, and before its end.
    """

    things: dict[str, Thing] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    before: dict[tuple[str, str], Callable[[], None]] = field(default_factory=dict)
    after: dict[tuple[str, str], Callable[[], None]] = field(default_factory=dict)
    made: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def copy(self) -> Cloud:
        """A cloud with the same objects, in which nothing has happened yet."""
        return Cloud(things=copy.deepcopy(self.things), made=self.made)

    def ids(self, name: str) -> list[str]:
        """IDs of all objects that were made for a resource, such as `Queue summarize`."""
        return [key for key, thing in self.things.items() if label(thing.urn) == name]

    def the(self, name: str) -> Thing:
        """The one object of a resource."""
        (key,) = self.ids(name)
        return self.things[key]

    @property
    def labels(self) -> set[str]:
        """The resources that have objects."""
        return {label(thing.urn) for thing in self.things.values()}

    def start(self, verb: str, urn: str) -> None:
        """Log an operation's start, and let happen what is to happen.

        Raises:
            Refused, Unready: whatever the hook raises.
        """
        self.log.append((verb, label(urn)))
        self.before.get((verb, label(urn)), _nothing)()

    def end(self, verb: str, urn: str) -> None:
        """Log its end, after what is to happen before that."""
        self.after.get((verb, label(urn)), _nothing)()
        self.log.append((f"{verb}d", label(urn)))

    def new_id(self, urn: str) -> str:
        """An ID that no other object has or had."""
        with self.lock:
            self.made += 1
            return f"{urn.rpartition('::')[2]}-{self.made:04d}"


def _nothing() -> None:
    """Let an operation go its way."""
