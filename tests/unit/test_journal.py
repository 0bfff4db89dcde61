"""What a worker leaves for the one that is started after it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.worker.journal import Entry, Journal
from tests.unit.records import record_at

if TYPE_CHECKING:
    import pytest


def test_what_is_in_hand_is_left_as_it_stood_last(tmp_path: Path) -> None:
    """The next worker finds the latest state of each document, and nothing of what was put away."""
    first, second = record_at(1, "running"), record_at(2, "running")
    journal = Journal(tmp_path / "in-hand")
    journal.note("r1", first)
    journal.note("r2", second)
    later = second.model_copy(update={"job": "known by now"})
    journal.note("r2", later)
    journal.forget(first.attempt)
    journal.forget(first.attempt)

    assert list(Journal(tmp_path / "in-hand").left()) == [Entry(receipt="r2", record=later)]


def test_an_entry_that_cannot_be_read_is_dropped(tmp_path: Path) -> None:
    """A torn file costs its own document a visibility, and no other anything."""
    journal = Journal(tmp_path)
    (tmp_path / "torn.json").write_text('{"receipt": "r')
    record = record_at(1, "running")
    journal.note("r1", record)

    assert list(journal.left()) == [Entry(receipt="r1", record=record)]
    assert [path.name for path in tmp_path.iterdir()] == [f"{record.attempt}.json"]


def test_a_disk_that_takes_nothing_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that became read-only, as full or broken disks do, is neither noted in nor cleared."""
    journal, record = Journal(tmp_path), record_at(1, "running")
    journal.note("r1", record)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only", str(path))

    for method in ("unlink", "write_text", "replace"):
        monkeypatch.setattr(Path, method, refuse)
    journal.note("r2", record_at(2, "running"))
    journal.forget(record.attempt)
    journal.forget("unknown")
    monkeypatch.undo()
    assert list(journal.left()) == [Entry(receipt="r1", record=record)]


def test_an_entry_that_can_be_neither_read_nor_dropped_is_left_out(tmp_path: Path) -> None:
    """A worker starts all the same, and sees to the others."""
    journal, record = Journal(tmp_path), record_at(1, "running")
    (tmp_path / "0.json").mkdir()
    journal.note("r1", record)
    assert list(journal.left()) == [Entry(receipt="r1", record=record)]
