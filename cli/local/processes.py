"""A pod's containers as processes: started, watched and ended as the kubelet would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cli.local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from cli.local.rewrites import Command

POLL_SECONDS = 0.1
LOG_LINES = 15

OUTSIDE = ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""How this machine reaches a model registry; a pod's cluster has its own ways."""


class Process:
    """A container as a process group of its own, with its output in a file."""

    def __init__(self, command: Command, log: Path, ollama: Path) -> None:
        self.name = command.name
        self.log = log
        self._argv = command.argv
        outside = {name: os.environ[name] for name in OUTSIDE if name in os.environ}
        self.env = {**outside, **command.env, "PATH": _path(ollama)}
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Starts it.

        Raises:
            LocalError: there is no such program.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        Path(self.env["HOME"]).mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            try:
                self._popen = subprocess.Popen(
                    self._argv,
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches this program alone, which then ends its processes in order.
                    start_new_session=True,
                )
            except OSError as error:
                raise LocalError(f"{self._argv[0]} cannot be started: {error.strerror}") from error
        return self

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._popen.poll() if self._popen else None

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL for whatever of its group is left when the grace time is over."""
        if self._popen is None:
            return
        try:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                self._popen.terminate()
                self._popen.wait(grace_seconds)
        finally:
            # After a second Ctrl-C too: whatever of the group is left goes now.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def run_to_end(self) -> None:
        """Waits for its own end."""
        if self._popen:
            self._popen.wait()

    def wait(self, until: Callable[[], bool], seconds: float, what: str) -> None:
        """Waits until something holds.

        Raises:
            LocalError: it did not in time, or the process ended before.
        """
        deadline = time.monotonic() + seconds
        while not until():
            if self.exit_code is not None:
                raise LocalError(self.last_words(f"{self.name} ended with {self.exit_code} before {what}"))
            if time.monotonic() > deadline:
                raise LocalError(self.last_words(f"{self.name}: not {what} within {seconds:.0f} seconds"))
            time.sleep(POLL_SECONDS)

    def last_words(self, sentence: str) -> str:
        """A sentence with the end of the log below it."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(
            [f"{sentence}; its log is {self.log} and ends with:", *(f"  {line}" for line in lines)]
        )


def passes(argv: tuple[str, ...], env: Mapping[str, str], timeout_seconds: float) -> bool:
    """Whether an exec probe's command ends with 0 in time."""
    try:
        done = subprocess.run(
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout_seconds,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError):
        return False
    return done.returncode == 0


def _path(ollama: Path) -> str:
    """PATH of a container: this environment's own commands, the server, and the system's tools."""
    return os.pathsep.join([str(Path(sys.executable).parent), str(ollama.parent), os.defpath])
