"""`ollama-eks-work`: the main container of a model's pods."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvloop
from pydantic import ValidationError

from runtime import logs
from runtime.ollama.client import Ollama
from runtime.spec import TaskSpec
from runtime.worker import aws, cloudwatch, credentials, health, pod
from runtime.worker.consumer import HANDS_PER_SLOT, Consumer, unless
from runtime.worker.documents import Documents
from runtime.worker.ends import Ends
from runtime.worker.handler import Handler
from runtime.worker.journal import Journal
from runtime.worker.metrics import Metrics
from runtime.worker.queue import Queue
from runtime.worker.results import Results
from runtime.worker.server import Server
from runtime.worker.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

log = structlog.get_logger()

OTHER_CALLS = 8
"""Threads for calls to AWS beside those of the hands: heartbeats, depth of the queue, metrics."""


async def work(task: TaskSpec, ollama_host: str) -> None:
    """Answers documents until SIGTERM or SIGINT, and then what is in hand."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_default_executor(ThreadPoolExecutor(2 * HANDS_PER_SLOT * task.parallel + OTHER_CALLS))

    metrics = Metrics(task.name)
    ollama = Ollama(ollama_host)
    server = Server(ollama, task, loaded=metrics.model_loaded)
    consumer: Consumer | None = None

    def busy() -> bool:
        return consumer is not None and consumer.busy

    try:
        async with health.serving(
            task.health_port,
            server=lambda: server.alive,
            # A pod that is not ready is the first to go when there are to be fewer.
            ready=lambda: server.ready or busy(),
            metrics=metrics.exposition,
        ):
            me = pod.connect()
            # Alive by now, or the kubelet would restart the container before the wait is over.
            if not await unless(stop, credentials.awaited(me)):
                return
            clients = aws.connect()
            queue, results = Queue(clients, task), Results(clients, task)
            journal = Journal(_journal_folder(task))
            # What the SDK has loaded by now stays: the collector need not look through it for ever.
            gc.freeze()
            ends = Ends(task=task, queue=queue, results=results, ended=metrics.ended)
            handler = Handler(
                task=task,
                queue=queue,
                documents=Documents(clients, task),
                results=results,
                server=server,
                ollama=ollama,
                journal=journal,
                ends=ends,
            )
            consumer = Consumer(
                task=task,
                queue=queue,
                handler=handler,
                server=server,
                turns=Turns(task.parallel),
                metrics=metrics,
            )
            log.info("started", task=task.name, model=task.model.reference)
            aside = [cloudwatch.push(metrics, aws.put_metric_data)]
            if me is not None:
                aside.append(pod.mind(me, busy))
            await ends.of_predecessor(journal)
            await _beside(consumer.run(stop), aside)
    finally:
        await ollama.close()


async def _beside(work: Coroutine[None, None, None], aside: Sequence[Coroutine[None, None, None]]) -> None:
    """Runs the work with others beside it; they end with it, and it with any of them that dies."""
    async with asyncio.TaskGroup() as group:
        others = [group.create_task(other) for other in aside]
        await work
        for other in others:
            other.cancel()


def _journal_folder(task: TaskSpec) -> Path:
    """On the pod's scratch volume, which outlives its containers."""
    return Path(tempfile.gettempdir(), "ollama-eks", task.name, "in-hand")


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
        # Of a document's cost in processor time a tenth is the loop's; with asyncio's own it is a fifth.
        uvloop.run(work(task, os.environ.get("OLLAMA_HOST", "127.0.0.1:11434")))
    except aws.MissingCredentialsError as error:
        log.error("no AWS credentials", problem=str(error))
        sys.exit(os.EX_NOPERM)
    except OSError as error:
        log.error("cannot start", problem=str(error))
        sys.exit(os.EX_UNAVAILABLE)
    log.info("stopped")


if __name__ == "__main__":
    main()
