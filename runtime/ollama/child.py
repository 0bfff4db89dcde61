"""An Ollama server as a child of this process, for as long as a model is being built."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

import httpx

from runtime.command import CommandError, require_ollama
from runtime.spec import server_environment

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

START_SECONDS = 30
STOP_SECONDS = 10
LOG_LINES = 3


@contextlib.contextmanager
def running(models: Path, *, host: str) -> Generator[str]:
    """Runs `ollama serve` on a model directory and yields its base URL; leaving the block ends it.

    Args:
        models: the directory that it writes to; its log goes to `server.log` in there.
        host: `address:port` that it listens on.

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
    log = models / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["ollama", "serve"],
            env={**os.environ, **server_environment(host=host, models=str(models), parallel=1)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_start(server, url, log)
        yield url
    except httpx.TransportError as error:
        what = "ended while the model was being made"
        raise _failure(what, log) from error
    finally:
        _stop(server)


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
