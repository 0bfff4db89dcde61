"""What the commands about a model directory share: their one argument, and how they end.

Nothing heavier than the spec is imported at the top: a published model must cost its Job next to no time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from runtime.spec import ModelSpec
from runtime.version import OLLAMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

MARKER = "model.json"
"""The file whose presence says that a model directory is whole: the directory appears together with it."""


class CommandError(Exception):
    """An expected end of a command: one sentence for a person, an exit code for a machine.

    `os.EX_DATAERR` says that the same input would fail again, `os.EX_UNAVAILABLE` that a later try may do.
    """

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(" ".join(sentence.split()))
        self.exit_code = exit_code


def model_spec(program: str, description: str | None) -> ModelSpec:
    """The model spec that the command line names.

    Raises:
        CommandError: the file cannot be read (`os.EX_NOINPUT`) or is no model spec (`os.EX_DATAERR`).
        SystemExit: the command line itself is wrong, or asks for help.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("path", metavar="MODEL_SPEC_JSON_PATH", type=Path)
    path: Path = parser.parse_args().path
    try:
        return ModelSpec.model_validate_json(path.read_bytes())
    except OSError as error:
        sentence = f"the model spec {path} cannot be read: {error.strerror}"
        raise CommandError(sentence, os.EX_NOINPUT) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'top level'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        sentence = f"{path} is no model spec: {problems}"
        raise CommandError(sentence, os.EX_DATAERR) from error


def require_ollama() -> None:
    """Sees to it that the server's program can be started.

    Raises:
        CommandError: it is not on PATH (`os.EX_UNAVAILABLE`).
    """
    if shutil.which("ollama") is None:
        sentence = f"no program `ollama` on PATH: use the image, or put Ollama {OLLAMA_VERSION} on PATH"
        raise CommandError(sentence, os.EX_UNAVAILABLE)


def end_on_sigterm() -> None:
    """Makes SIGTERM end the process at once by way of its `finally` blocks, with the exit code 143.

    As process 1 of a container, a process without a handler of its own would ignore the signal.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


@contextlib.contextmanager
def errors_as_sentences() -> Generator[None]:
    """Turns an expected error of the block into one log line and its exit code; never a traceback."""
    try:
        yield
    except (CommandError, OSError) as error:
        import structlog  # noqa: PLC0415  half of what a start costs, and only needed now

        from runtime import logs  # noqa: PLC0415

        if isinstance(error, OSError):
            # A full, read-only or broken file system, of which nothing more is known here.
            sentence = f"the file system refuses: {error}: mend that, then run this again"
            error = CommandError(sentence, os.EX_UNAVAILABLE)
        logs.configure()
        structlog.get_logger().error(str(error), exit_code=error.exit_code)
        sys.exit(error.exit_code)


def is_whole(directory: Path) -> bool:
    """Whether the model is published, and as many bytes are there as were then; nothing is read or hashed."""
    try:
        published = json.loads((directory / MARKER).read_bytes())["bytes"]
        return published == sum(blob.stat().st_size for blob in (directory / "blobs").iterdir())
    except (OSError, ValueError, KeyError):
        return False
