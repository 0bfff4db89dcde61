"""A real Ollama server for one test module: its own port, home and environment, and nothing left behind."""

import hashlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

START_SECONDS = 30
STOP_SECONDS = 10
LOG_TAIL_CHARACTERS = 4000


class ServerDidNotStartError(Exception):
    """The server ended or stayed silent; the message ends with the tail of its log."""


@contextmanager
def running(binary: Path, models: Path, **env: str) -> Generator[str]:
    """Run `ollama serve` over the store `models` and yield its base URL once it answers.

    The server sees PATH, the settings below and `env`, and nothing else of the caller's environment. On the
    way out it and its runners are gone.

    Raises:
        ServerDidNotStartError: The server ended early or did not answer within START_SECONDS.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="ollama-home-") as home:
        log = Path(home, "server.log")
        settings = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "OLLAMA_HOST": address,
            "OLLAMA_MODELS": str(models),
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_NOPRUNE": "1",
            "OLLAMA_KEEP_ALIVE": "-1",
        } | env
        with log.open("wb") as output:
            # A process group of its own holds the runners too, and outlives the server.
            server = subprocess.Popen(
                [binary, "serve"], env=settings, stdout=output, stderr=output, start_new_session=True
            )
        try:
            _wait_until_it_answers(server, f"http://{address}", log)
            yield f"http://{address}"
        finally:
            _stop(server)


def create(
    base_url: str,
    name: str,
    gguf: Path,
    template: str = "{{ .Prompt }}",
    parameters: Mapping[str, object] | None = None,
) -> None:
    """Create the model `name` from a GGUF file; it runs in one thread unless `parameters` say otherwise.

    Raises:
        httpx.HTTPStatusError: The server refused the file or the model.
    """
    content = gguf.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with httpx.Client(base_url=base_url, timeout=60) as http:
        http.post(f"/api/blobs/{digest}", content=content).raise_for_status()
        body = {
            "model": name,
            "files": {gguf.name: digest},
            "template": template,
            # Threads spin while they wait for each other: on a busy machine two are 50 times slower.
            "parameters": {"num_thread": 1, **(parameters or {})},
            "stream": False,
        }
        http.post("/api/create", json=body).raise_for_status()


def _wait_until_it_answers(server: subprocess.Popen[bytes], base_url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(f"{base_url}/api/version", timeout=1).raise_for_status()
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return
    state = "does not answer" if server.poll() is None else f"ended with status {server.returncode}"
    tail = log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]
    message = f"`ollama serve` {state}; its log ends:\n{tail}"
    raise ServerDidNotStartError(message)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server, which ends its runners; then, by force, whatever of them is left."""
    server.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
