"""Room on the store, asked before bytes are written rather than found missing after an hour of download."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runtime.command import CommandError

if TYPE_CHECKING:
    from pathlib import Path

RESERVE_BYTES = 16 * 1024 * 1024
"""What manifests, the marker, the server's log and the directories themselves may take."""

NO_SPACE = "no space left on device"
"""The words of the operating system, and so of the server, for a full disk."""


def require(folder: Path, needed: int, what: str) -> None:
    """Sees to it that `needed` bytes more fit on the file system of the folder. EFS always says yes.

    Raises:
        CommandError: they do not, in numbers (`os.EX_UNAVAILABLE`: room can be made).
    """
    state = os.statvfs(folder)
    free = state.f_bavail * state.f_frsize
    if needed and needed + RESERVE_BYTES > free:
        sentence = (
            f"{what} needs {readable(needed)} more and {readable(RESERVE_BYTES)} in reserve, and "
            f"{readable(free)} are free at {folder}: "
            "remove models (`ollama-eks-provision --collect`) or enlarge the file system, then run this again"
        )
        raise CommandError(sentence, os.EX_UNAVAILABLE)


def readable(amount: int) -> str:
    """Bytes in the unit in which they are read best, and exactly: `4.66 GB (4661224676 bytes)`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if amount >= size:
            return f"{amount / size:.2f} {unit} ({amount} bytes)"
    return f"{amount} bytes"
