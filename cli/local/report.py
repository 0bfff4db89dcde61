"""What a local run shows, and the plain files that it leaves."""

from __future__ import annotations

import inspect
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cli.local.outcomes import Outcome

SHOWN_CHARACTERS = 48

_console = Console(markup=False, highlight=False, soft_wrap=True)


def say(sentence: str) -> None:
    """Prints a sentence."""
    _console.print(sentence)


def differences(omitted: Iterable[str], rewritten: str) -> None:
    """Prints in what this run differs from the graph."""
    say("Rewritten for this machine:")
    say(inspect.cleandoc(rewritten).partition("\n\n")[2])
    say("\nLeft out:")
    for item in omitted:
        say(f"    {item}")


def progress(outcomes: Iterable[Outcome], count: int) -> Iterator[Outcome]:
    """Passes outcomes through and shows how many there are."""
    with Progress(console=_console, transient=True) as bar:
        task = bar.add_task("documents", total=count)
        for outcome in outcomes:
            bar.advance(task)
            yield outcome


def save(outcome: Outcome, folder: Path) -> None:
    """Writes a result and its record as plain files below the run's folder."""
    texts = {"records": (".json", outcome.record.model_dump_json(indent=2, exclude_none=True))}
    if outcome.record.result is not None and outcome.answer is not None:
        texts["results"] = (PurePosixPath(outcome.record.result.key).suffix, outcome.answer)
    for kind, (suffix, text) in texts.items():
        path = folder / kind / outcome.record.task / f"{outcome.document}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def table(outcomes: list[Outcome], folder: Path) -> None:
    """Prints one line for each document, then why some failed, then where everything lies."""
    shown = Table("document", "type", "seconds", "tokens", "result")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.document):
        record = outcome.record
        seconds = (record.ended - record.started).total_seconds() if record.ended else 0.0
        shown.add_row(
            outcome.document,
            record.document.type,
            f"{seconds:.2f}",
            f"{record.tokens.prompt} + {record.tokens.answer}" if record.tokens else "",
            _shortened(outcome.answer) if outcome.answer is not None else f"failed: {_reason(outcome)}",
        )
    _console.print(shown)
    for outcome in outcomes:
        if outcome.record.failure:
            say(f"{outcome.document}: {outcome.record.failure.detail}")
    say(f"Results and records: {folder}")


def _reason(outcome: Outcome) -> str:
    return outcome.record.failure.reason if outcome.record.failure else outcome.record.outcome


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"
