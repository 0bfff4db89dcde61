"""Programs as processes of the test run: each with a log of its own, and none that outlives the run."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Found = TypeVar("Found")

LOG_LINES = 20
POLL_SECONDS = 0.05

PORTS = range(20_000, 32_000)
"""Below those that systems give out by themselves, so that a port which is free now stays free."""


class ProcessError(Exception):
    """A process ended by itself, or something did not happen in time; the message has the log's end."""


@dataclass(frozen=True, slots=True)
class _Program:
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path


@dataclass
class Processes:
    """Processes by name.

    Attributes:
        folder: where each one's log is, `<name>.log`, and what it writes.
    """

    folder: Path
    _programs: dict[str, _Program] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _keeper: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Starts what ends them all, should this process be killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.keeper"],
            stdin=subprocess.PIPE,
            text=True,
            # What kills the run's whole process group is to leave this one alive.
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all: not politely, since the data is thrown away, and an API server waits for its watches."""
        for process in self._running.values():
            _kill(process)
        for name in tuple(self._running):
            self._ended(name)
        if self._keeper:
            self._keeper.communicate()

    def start(self, name: str, *argv: object, env: Mapping[str, str] | None = None) -> None:
        """Starts a program under a name that has none running."""
        program = _Program(tuple(str(each) for each in argv), env or {}, self.folder / f"{name}.log")
        self._programs[name] = program
        self.restart(name)

    def restart(self, name: str) -> None:
        """Starts the program of that name once more, as it was started first."""
        program = self._programs[name]
        with program.log.open("ab") as log:
            process = subprocess.Popen(
                program.argv,
                # Nothing of the user's: these programs read proxies, KUBECONFIG and AWS profiles from it.
                env={"PATH": os.defpath, "HOME": str(self.folder), **program.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[name] = process
        self._tell_keeper(f"+{process.pid}")

    def stop(self, name: str) -> None:
        """Ends one with SIGKILL: a program that is gone, not one that says good-bye."""
        _kill(self._running[name])
        self._ended(name)

    def argument(self, name: str, flag: str) -> str:
        """What a program was given with a flag such as `--port`."""
        (value,) = (each for each in self._programs[name].argv if each.startswith(f"{flag}="))
        return value.removeprefix(f"{flag}=")

    def check(self) -> None:
        """Looks whether all that were started and not stopped still run.

        Raises:
            ProcessError: one does not, with the end of its log.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                raise ProcessError(self._last_words(name, f"{name} ended with {process.returncode}"))

    def wait_for(
        self, what: str, call: Callable[[], Found], seconds: float, log_of: str | None = None
    ) -> Found:
        """Waits until a call gives something true, and gives that back.

        Args:
            what: is waited for, such as `the API server's port is open`.
            call: is made every now and then; OSError is `not yet`.
            seconds: until it is given up.
            log_of: the process whose log tells why not.

        Raises:
            ProcessError: it did not in time, or one of the processes ended meanwhile.
        """
        deadline = time.monotonic() + seconds
        last: Any = None
        while True:
            self.check()
            try:
                last = call()
            except OSError as error:
                last = error
            else:
                if last:
                    return last
            if time.monotonic() > deadline:
                sentence = f"not within {seconds:.0f} s: {what} (last seen: {last!r})"
                raise ProcessError(self._last_words(log_of, sentence) if log_of else sentence)
            time.sleep(POLL_SECONDS)

    def read_log(self, name: str) -> str:
        """All that a process has written so far."""
        return self._programs[name].log.read_text(errors="replace")

    def _ended(self, name: str) -> None:
        process = self._running.pop(name)
        process.wait()
        self._tell_keeper(f"-{process.pid}")

    def _tell_keeper(self, line: str) -> None:
        assert self._keeper
        assert self._keeper.stdin
        self._keeper.stdin.write(f"{line}\n")
        self._keeper.stdin.flush()

    def _last_words(self, name: str, sentence: str) -> str:
        lines = self.read_log(name).splitlines()[-LOG_LINES:]
        where = self._programs[name].log
        return "\n".join([f"{sentence}; its log is {where} and ends with:", *(f"  {line}" for line in lines)])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends it and all that it started; what has ended by itself has nothing left to end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback address that nobody listens at."""
    found: list[int] = []
    while len(found) < count:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket() as trial:
            if port not in found and trial.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


def listens(port: int) -> bool:
    """Whether something answers at the port of the loopback address."""
    with socket.socket() as trial:
        return not trial.connect_ex(("127.0.0.1", port))
