"""Staging: a directory for each run in which its server works, locked for as long as anyone may write to it.

The lock is a `flock` on a file beside the directory, and the server inherits it: the kernel gives it up with
the last of the two, and NFS 4 (so EFS) with the lease of a node that is gone. No heartbeat to miss, no age
to guess. Beside, not inside: over NFS a file that is open cannot leave its directory (it is renamed to
`.nfs...` until it is closed), so whoever holds a lock could never remove the directory that it lies in.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

from runtime.command import MARKER
from runtime.ollama import partials

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

FOLDER = ".staging"
LOCK = ".lock"
REMOVED = "removed-"
"""How the name of a directory begins that came here by the rename that removes a model in one step."""

KEPT_SECONDS = 24 * 3600
"""How long downloads of the dead are kept for a later try of their model: past a Job's last retry."""


class Staging(NamedTuple):
    """A locked staging directory.

    Attributes:
        path: the directory itself; its lock lies beside it.
        lock: a file descriptor; whoever holds it may work in the directory.
    """

    path: Path
    lock: int

    @property
    def models(self) -> Path:
        """The directory in it that the server fills, and that is published."""
        return self.path / "model"

    @property
    def owner(self) -> str:
        """The hash of the model that it was made for; empty if its maker died too early to say."""
        return os.pread(self.lock, 64, 0).decode(errors="replace")

    @property
    def rubbish(self) -> bool:
        """Whether nobody will want what is in it, its maker being dead."""
        if self.path.name.startswith(REMOVED) or not partials.found(self.models):
            return True
        if self.owner and (self.path.parents[1] / self.owner / MARKER).exists():
            return True
        return time.time() - (self.models / "blobs").stat().st_mtime > KEPT_SECONDS

    def remove(self) -> None:
        """Removes the directory, then its lock."""
        if self.path.exists():
            shutil.rmtree(self.path)
        _lock_of(self.path).unlink(missing_ok=True)


@contextlib.contextmanager
def claim(store: Path, *, pod: str, owner: str) -> Generator[Staging]:
    """Makes a staging directory; on leaving it is unlocked, and stays if it is still there.

    Args:
        store: the store's root.
        pod: begins its name, for whoever looks into the store.
        owner: the hash of the model that it is for.
    """
    (store / FOLDER).mkdir(parents=True, exist_ok=True)
    staging = None
    while staging is None:
        # A sweeper may see the lock before it is held, and take it away: then another name.
        staging = _locked(store / FOLDER / f"{pod}-{secrets.token_hex(4)}")
    try:
        os.write(staging.lock, owner.encode())
        staging.models.mkdir(parents=True)
        yield staging
    finally:
        os.close(staging.lock)


def dead(store: Path) -> Generator[Staging]:
    """The staging directories of the dead, each locked while the caller looks at it."""
    folder = store / FOLDER
    found = [*folder.iterdir()] if folder.exists() else []
    paths = {path for path in found if path.is_dir()}
    # A lock without a directory is of one who died between the two.
    paths |= {path.with_name(path.name.removesuffix(LOCK)) for path in found if path.name.endswith(LOCK)}
    for path in sorted(paths):
        staging = _locked(path)
        if staging is not None:
            try:
                yield staging
            finally:
                os.close(staging.lock)


def set_aside(store: Path, model: Path) -> None:
    """Takes a model out of the store by one rename; the next sweep removes it."""
    (store / FOLDER).mkdir(exist_ok=True)
    model.rename(store / FOLDER / f"{REMOVED}{model.name}-{secrets.token_hex(4)}")


def sweep(store: Path, *, owner: str | None = None) -> None:
    """Removes what the dead have left and nobody will want; all of what was for the model `owner`."""
    for staging in dead(store):
        if staging.rubbish or staging.owner == owner:
            staging.remove()


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + LOCK)


def _locked(path: Path) -> Staging | None:
    """The directory, locked, there or not; None if another holds its lock or is about to remove it."""
    lock = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), _lock_of(path).stat()):
            return Staging(path, lock)
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None
