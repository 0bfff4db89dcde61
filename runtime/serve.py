"""`ollama-eks-serve`: becomes the model server as soon as the model's directory is published."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

import structlog

from runtime import command, logs

POLL_SECONDS = 1


class Clock(Protocol):
    """The time, in seconds. The module `time` is one; a test holds its own."""

    def monotonic(self) -> float:
        """Now; only differences mean anything."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Waits."""
        ...


def main() -> None:
    """Waits for the model directory, then replaces this process by `ollama serve`, environment unchanged."""
    command.end_on_sigterm()
    logs.configure()
    with command.errors_as_sentences():
        spec = command.model_spec("ollama-eks-serve", __doc__)
        wait(Path(spec.directory), spec.wait_seconds)
        command.require_ollama()
        os.execvp("ollama", ["ollama", "serve"])  # noqa: S606  no shell, and nothing from outside in the list


def wait(directory: Path, wait_seconds: float, clock: Clock = time) -> None:
    """Returns when the model directory is published; it is looked for every second.

    Raises:
        CommandError: it did not appear within `wait_seconds` (`os.EX_TEMPFAIL`).
    """
    deadline = clock.monotonic() + wait_seconds
    published = directory / command.MARKER
    if not published.exists():
        structlog.get_logger().info("waiting for the model", directory=str(directory), seconds=wait_seconds)
    while not published.exists():
        if clock.monotonic() >= deadline:
            job = directory.name[:12]
            sentence = (
                f"the model's Job has not published {directory.name} within {wait_seconds:g} s: find it with "
                f"`kubectl get jobs --all-namespaces | grep {job}` and read its `kubectl logs`"
            )
            raise command.CommandError(sentence, os.EX_TEMPFAIL)
        clock.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
