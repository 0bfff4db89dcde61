"""Runs the program for the engine: each time in a new process, forked from one that has imported the SDKs.

Importing them takes seconds, a fork does not, and no run sees what an earlier one left in a module.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc

from cli.computed import COMPUTED
from cli.graph import ROOT
from tests.engine import schemas

if TYPE_CHECKING:
    from collections.abc import Generator
    from multiprocessing.connection import Connection

START_SECONDS = 60

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])

# The SDKs import a module when it is first used; these are the ones that the program uses.
for _token in COMPUTED:
    schemas.outputs(_token)


def _main() -> None:
    runpy.run_path(str(ROOT / "__main__.py"))


def _serve(ports: Connection) -> None:
    # An Output in an f-string raises, instead of leaving a sentence about itself in somebody's input.
    os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "true"
    server = grpc.server(ThreadPoolExecutor(4))
    # What the Automation API runs a program in; it has no public way to another process.
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(_main), server)
    ports.send(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


@contextmanager
def language_host() -> Generator[str]:
    """The address at which an engine finds the program.

    Raises:
        TimeoutError: nothing came up in `START_SECONDS`.
    """
    here, there = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        if not here.poll(START_SECONDS):
            raise TimeoutError(f"no process to run the program in within {START_SECONDS} s")
        yield f"127.0.0.1:{here.recv()}"
    finally:
        process.kill()
        process.join()
        process.close()
        here.close()
        there.close()
