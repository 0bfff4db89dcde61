"""`ollama-eks-serve`: becomes the model server as soon as the model's directory is published."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

from runtime import preread

POLL_SECONDS = 1

MARKER = "model.json"
"""`runtime.command.MARKER`, whose module takes longer to import than a server takes to start."""


class Clock(Protocol):
    """The time, in seconds. The module `time` is one; a test holds its own."""

    def monotonic(self) -> float:
        """Now; only differences mean anything."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Waits."""
        ...


def main() -> None:
    """Waits for the model directory, then replaces this process by `ollama serve`, environment unchanged.

    A child reads the model's files meanwhile. Where the directory is there already, in `OLLAMA_MODELS`,
    nothing else is looked at.
    """
    directory = Path(os.environ.get("OLLAMA_MODELS") or "/nowhere")
    preread.start(directory if (directory / MARKER).exists() else _awaited())
    try:
        os.execvp("ollama", ["ollama", "serve"])  # noqa: S606  no shell, and nothing from outside in the list
    except OSError:
        from runtime import command  # noqa: PLC0415  slow to import

        with command.errors_as_sentences():
            command.require_ollama()
            raise


def _awaited() -> Path:
    """The directory of the model that the command line names, once it is published."""
    from runtime import command  # noqa: PLC0415  slow to import

    command.end_on_sigterm()
    with command.errors_as_sentences():
        spec = command.model_spec("ollama-eks-serve", __doc__)
        directory = Path(spec.directory)
        wait(directory, spec.wait_seconds)
        return directory


def wait(directory: Path, wait_seconds: float, clock: Clock = time) -> None:
    """Returns when the model directory is published; it is looked for every second.

    Raises:
        CommandError: it did not appear within `wait_seconds` (`os.EX_TEMPFAIL`).
    """
    deadline = clock.monotonic() + wait_seconds
    published = directory / MARKER
    if not published.exists():
        import structlog  # noqa: PLC0415  slow to import

        from runtime import logs  # noqa: PLC0415

        logs.configure()
        structlog.get_logger().info("waiting for the model", directory=str(directory), seconds=wait_seconds)
    while not published.exists():
        if clock.monotonic() >= deadline:
            from runtime import command  # noqa: PLC0415  likewise

            job = directory.name[:12]
            sentence = (
                f"the model's Job has not published {directory.name} within {wait_seconds:g} s: find it with "
                f"`kubectl get jobs --all-namespaces | grep {job}` and read its `kubectl logs`"
            )
            raise command.CommandError(sentence, os.EX_TEMPFAIL)
        clock.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
