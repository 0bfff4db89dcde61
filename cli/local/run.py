"""`ollama-eks local`: documents to answers on this machine, through the program's own graph."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cli import tiny_model, toolchain
from cli.graph import ROOT, Graph, evaluate
from cli.local import emulator, outcomes, pods, report, rewrites
from cli.local.errors import LocalError
from runtime.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from cli.local.processes import Process

STACK_FILE = ROOT / "Pulumi.local.yaml"
DOCUMENTS = ROOT / "examples" / "documents"
HOME = ROOT / ".local"
"""Models and runs of this checkout; `make clean` removes it."""

TINY_MODEL = "s3://ollama-eks-local-models/tiny.gguf"
"""Where the local stack's model is built from: a bucket that stands for one of the user's own."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        documents: the folder of documents.
        model: a name to pull instead of the local stack's own model, empty for none.
        stack_file: the stack that is run.
        home: where models and runs are kept.
        verbose: whether every rewrite and omission is said.
    """

    documents: Path = DOCUMENTS
    model: str = ""
    stack_file: Path = STACK_FILE
    home: Path = HOME
    verbose: bool = False


def run(options: Options) -> bool:
    """Answers every document of a folder; True when each has a result.

    Raises:
        LocalError, GraphError, ToolError: the run cannot go on, in a sentence.
    """
    files = outcomes.find(options.documents)
    graph = evaluate(options.stack_file, _changes(options))
    if options.verbose:
        report.differences((*emulator.OMITTED, *rewrites.OMITTED), rewrites.__doc__ or "")
    folder = options.home / "runs" / f"{datetime.now().astimezone():%Y-%m-%dT%H-%M-%S.%f}"
    store = options.home / "models"
    store.mkdir(parents=True, exist_ok=True)
    # Pods call it `ollama`, whatever the file is called that was found.
    ollama = folder / "bin" / "ollama"
    ollama.parent.mkdir(parents=True)
    ollama.symlink_to(toolchain.local_ollama(report.say))

    found: list[outcomes.Outcome] = []
    answered: Counter[str] = Counter()
    with _emulated(graph) as aws:
        host = pods.Host(graph=graph, emulator=aws, store=store, folder=folder, ollama=ollama)
        tiny = _offer_tiny_model(aws, graph, folder)
        for job, service in pods.models(graph).values():
            report.say("making the model ready (the first time takes longest)")
            pods.ready(host, job)
            report.say("starting the server and the worker")
            with pods.served(host, service) as (task, processes):
                if task.after is None:
                    outcomes.upload(aws.s3, task, options.documents, files)
                # The results of the model before are there already, and their events in the queue.
                count = len(files) if task.after is None else answered[task.after]
                endings = outcomes.collect(aws.s3, task, count, lambda: _alive(processes))
                try:
                    for outcome in report.progress(endings, count):
                        report.save(outcome, folder)
                        found.append(outcome)
                        answered[task.name] += outcome.answer is not None
                except KeyboardInterrupt:
                    report.say("stopping once the document in hand is finished; Ctrl-C again ends it at once")
                    raise
    report.table(found, folder)
    if tiny:
        report.say(
            "The answers are gibberish: the model is a tiny one of random words, made here in a second. "
            "For a real one: make local MODEL=llama3.2:3b"
        )
    return all(outcome.answer is not None for outcome in found)


def _changes(options: Options) -> dict[str, Any]:
    """The local stack's model with another source; its options are the tiny model's, so they go too."""
    if not options.model:
        return {}
    return {"models": [{"name": "summarize", "from": options.model, "prompt": "Summarize the document."}]}


@contextlib.contextmanager
def _emulated(graph: Graph) -> Generator[emulator.Emulator]:
    aws = emulator.start(graph)
    try:
        yield aws
    finally:
        aws.stop()


def _offer_tiny_model(aws: emulator.Emulator, graph: Graph, folder: Path) -> bool:
    """Puts the tiny model where the stack looks for it, if it does."""
    specs = [
        ModelSpec.model_validate_json(config.inputs["data"]["model.json"])
        for config in graph.of_type("kubernetes:core/v1:ConfigMap")
    ]
    if not any(TINY_MODEL in spec.source.s3_objects for spec in specs):
        return False
    path = folder / "tiny.gguf"
    tiny_model.write(path)
    bucket, _, key = TINY_MODEL.removeprefix("s3://").partition("/")
    aws.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": emulator.REGION})
    aws.s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    return True


def _alive(processes: list[Process]) -> None:
    """Raises LocalError once a process has ended."""
    for process in processes:
        if process.exit_code is not None:
            sentence = f"{process.name} ended with {process.exit_code} while documents were waiting"
            raise LocalError(process.last_words(sentence))
