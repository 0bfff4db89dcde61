"""An Ollama server as a child of this process, for as long as a model is being built."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx

from runtime.command import CommandError, require_ollama
from runtime.server_settings import server_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

START_SECONDS = 30
STOP_SECONDS = 10
LOG_LINES = 3
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextlib.contextmanager
def running(models: Path, *, host: str, log: Path, lock: int) -> Generator[str]:
    """Runs `ollama serve` on a model directory and yields its base URL; leaving the block ends it.

    It ends with this process, however that ends: outside a container nobody else would end it.

    Args:
        models: the directory that it writes to.
        host: `address:port` that it listens on.
        log: where its log goes.
        lock: a file descriptor that it holds for as long as it lives.

    Raises:
        CommandError: its program is missing, the address is taken, or, with the last lines of its log, it did
            not answer within 30 s or ended while the block talked to it (`os.EX_UNAVAILABLE`).
    """
    require_ollama()
    url = f"http://{host}"
    if _answers(url):
        # Whatever it is, it would take our requests and put the model somewhere else.
        sentence = f"another program answers at {url}: end it, or set OLLAMA_HOST to a free address:port"
        raise CommandError(sentence, os.EX_UNAVAILABLE)
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["ollama", "serve"],
            env={**os.environ, **server_environment(host=host, models=str(models), parallel=1)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509  there is one thread yet
        )
    try:
        _await_start(server, url, log)
        yield url
    except httpx.TransportError as error:
        what = "ended while the model was being made"
        raise _failure(what, log) from error
    finally:
        _stop(server)


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child does before it becomes the server, so that the kernel kills it when its parent dies."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # loaded here: after a fork is no time to

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)  # it died before it was asked for

    return ask


def _await_start(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        if server.poll() is not None:
            what = f"ended at its start with exit code {server.returncode}"
            raise _failure(what, log)
        if time.monotonic() > deadline:
            what = f"did not answer at {url} within {START_SECONDS} s"
            raise _failure(what, log)
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        # Never by a proxy: the server is on loopback.
        httpx.get(f"{url}/api/version", timeout=1, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def _failure(what: str, log: Path) -> CommandError:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = " | ".join(lines[-LOG_LINES:])
    return CommandError(f"the model server {what}; its log ends: {last}", os.EX_UNAVAILABLE)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
