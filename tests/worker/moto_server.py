"""moto as a process of its own, with a queue that stays fast and loses nothing under thousands of messages.

What is replaced in moto 5.2.5 (most of it in moto/sqs/models.py), and why:

- its clock, which makes two datetimes and subtracts them, and is read twice for every message of a scan;
- the three approximate counts among a queue's attributes: each is a scan, and every send, and every message
  that is received, makes all of them several times to read some other attribute;
- its list of services, read from disk at every request, and the names of attributes, spelled anew each time;
- its missing locks: a delete copies the list of messages while a send appends to the old one, and two
  receives can take the same message. AWS's standard queues may do the second, but not lose a message.

What is not: the scans of receive, delete and change, a millisecond or so at thousands of messages.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto import backends
from moto.core.utils import camelcase_to_underscores
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.sqs import models
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

CPU_PATH = "/moto-api/cpu-seconds"

COUNTS = {
    "ApproximateNumberOfMessages": "approximate_number_of_messages",
    "ApproximateNumberOfMessagesDelayed": "approximate_number_of_messages_delayed",
    "ApproximateNumberOfMessagesNotVisible": "approximate_number_of_messages_not_visible",
}


def override() -> None:
    """Replaces those parts in this process; a second call changes nothing."""
    backend, queue = models.SQSBackend, models.Queue
    if not COUNTS.keys() & set(queue.BASE_ATTRIBUTES):
        return
    queue.BASE_ATTRIBUTES = [name for name in queue.BASE_ATTRIBUTES if name not in COUNTS]
    models.__dict__.update(
        unix_time=time.time,
        unix_time_millis=lambda: time.time() * 1000,
        camelcase_to_underscores=functools.cache(camelcase_to_underscores),
    )
    services = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: services
    backend.get_queue_attributes = _with_counts_if_asked(backend.get_queue_attributes)
    queue.delete_message = _locked(queue.delete_message, lambda queue, *_: queue)
    # A long poll waits on the same lock, as a condition, and so lets go of it.
    for name in ("receive_message", "change_message_visibility"):
        method = _locked(
            getattr(backend, name), lambda backend, queue_name, *_, **__: backend.get_queue(queue_name)
        )
        setattr(backend, name, method)


def _with_counts_if_asked(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    @functools.wraps(original)
    def get(self: models.SQSBackend, queue_name: str, attribute_names: list[str]) -> dict[str, Any]:
        others = [name for name in attribute_names if name not in COUNTS]
        asked = COUNTS if "All" in attribute_names else COUNTS.keys() & set(attribute_names)
        queue = self.get_queue(queue_name)
        return original(self, queue_name, others) | {name: getattr(queue, COUNTS[name]) for name in asked}

    return get


def _locked(original: Callable[..., Any], queue_of: Callable[..., models.Queue]) -> Callable[..., Any]:
    @functools.wraps(original)
    def locked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        with queue_of(*args, **kwargs)._messages_lock:  # noqa: SLF001
            return original(*args, **kwargs)

    return locked


class _KeepsConnections(MotoRequestHandler):
    """Speaks HTTP/1.1, as AWS does: by default every call costs a connection and a thread."""

    protocol_version = "HTTP/1.1"


@contextmanager
def running(port: int = 0) -> Generator[str]:
    """Serves in threads of this process until the block ends; gives the endpoint."""
    override()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # This machine's AWS profile is for another AWS, and moto's own sessions would look for it too.
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    moto = DomainDispatcherApplication(create_backend_app)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401  as WSGI has it
        serve = Response(str(time.process_time())) if environ["PATH_INFO"] == CPU_PATH else moto
        return serve(environ, start_response)

    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_KeepsConnections)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True, slots=True)
class Process:
    """moto in a process of its own.

    Attributes:
        endpoint: its URL.
        pid: its id.
    """

    endpoint: str
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time that it has used so far."""
        with urllib.request.urlopen(self.endpoint + CPU_PATH) as response:  # noqa: S310  it is on loopback
            return float(response.read())


@contextmanager
def process() -> Generator[Process]:
    """Starts a process of its own, and ends it with the block."""
    command = [sys.executable, "-m", "tests.worker.moto_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            yield Process(child.stdout.readline().strip(), child.pid)
        finally:
            child.terminate()
            child.communicate()


def main() -> None:
    """Serves until SIGTERM: the first line is the endpoint, the last one the processor time as JSON."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with running() as endpoint:
        print(endpoint, flush=True)  # noqa: T201  it is what a bench reads
        signal.sigwait(signals)
        print(json.dumps({"cpu_seconds": time.process_time()}), flush=True)  # noqa: T201  likewise


if __name__ == "__main__":
    main()
