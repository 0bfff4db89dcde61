"""`ollama-eks-work`: the main container of a model's pods."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog
from pydantic import ValidationError

from runtime import logs
from runtime.ollama.client import Ollama
from runtime.spec import TaskSpec
from runtime.worker import aws, health
from runtime.worker.consumer import Consumer
from runtime.worker.handler import Handler
from runtime.worker.queue import Queue
from runtime.worker.results import Results
from runtime.worker.server import Server

log = structlog.get_logger()


async def work(task: TaskSpec, ollama_host: str) -> None:
    """Answers documents until SIGTERM or SIGINT, and then what is in hand."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    clients = aws.connect()
    ollama = Ollama(ollama_host)
    queue = Queue(clients, task)
    results = Results(clients, task.results_bucket)
    server = Server(ollama, task)
    handler = Handler(task=task, aws=clients, queue=queue, results=results, server=server, ollama=ollama)
    try:
        async with health.serving(server, task.health_port):
            log.info("started", task=task.name, model=task.model.reference)
            await Consumer(task=task, queue=queue, handler=handler, server=server).run(stop)
    finally:
        await ollama.close()
    log.info("stopped")


def main() -> None:
    """Reads the spec that the command line names, and works."""
    parser = argparse.ArgumentParser(prog="ollama-eks-work", description=__doc__)
    parser.add_argument("path", metavar="TASK_SPEC_JSON_PATH", type=Path)
    path: Path = parser.parse_args().path
    logs.configure()
    try:
        task = TaskSpec.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        log.error("no usable task spec", path=str(path), problem=str(error))
        sys.exit(os.EX_CONFIG)
    try:
        asyncio.run(work(task, os.environ.get("OLLAMA_HOST", "127.0.0.1:11434")))
    except OSError as error:
        log.error("cannot start", problem=str(error))
        sys.exit(os.EX_UNAVAILABLE)


if __name__ == "__main__":
    main()
