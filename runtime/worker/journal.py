"""What is in hand, on the pod's own disk: what a worker that died leaves for the one started after it.

Kubernetes restarts a container in its pod, and the pod's scratch volume stays. So a worker that finds entries
knows that its predecessor crashed with these documents in hand; when a whole node goes, nobody finds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from runtime.spec import Frozen
from runtime.worker.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = structlog.get_logger()


class Entry(Frozen):
    """One document in hand: what holds its message, and its record as it stands."""

    receipt: str
    record: Record


class Journal:
    """A folder with one file for each document in hand; a disk that fails costs no document anything."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def note(self, receipt: str, record: Record) -> None:
        """Says that a document is in hand, or what has become of it."""
        path = self._folder / f"{record.attempt}.json"
        half = path.with_suffix(".new")
        try:
            half.write_text(Entry(receipt=receipt, record=record).to_json())
            half.replace(path)
        except OSError as error:
            log.warning("journal not written", path=str(path), problem=str(error))

    def forget(self, attempt: str) -> None:
        """Says that it is not any more."""
        try:
            (self._folder / f"{attempt}.json").unlink(missing_ok=True)
        except OSError as error:
            log.warning("journal not written", attempt=attempt, problem=str(error))

    def left(self) -> Iterator[Entry]:
        """What the last worker here had in hand when it died."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                yield Entry.model_validate_json(path.read_bytes())
            except (OSError, ValidationError) as error:
                log.warning("journal entry not readable", path=str(path), problem=str(error))
                self.forget(path.stem)
