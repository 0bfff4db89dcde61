"""The pool: every blob of the store once, shared with the model directories by hard link."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import structlog

from runtime.ollama import blobs, free_space

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ".blobs"

UNLINKABLE = frozenset({errno.EMLINK, errno.EXDEV, errno.EPERM, errno.ENOTSUP})
"""No further link (EFS allows 177 to a file: EFS user guide, troubleshooting of quotas), or none at all."""


class Pool(NamedTuple):
    """The pool of the store.

    A blob was hashed when it entered, and is hashed again when it is taken: that costs one pass over bytes
    that the server will want in the page cache next, and without it one bad blob would spread to every model
    built on it.
    """

    store: Path

    def take(self, digest: str, models: Path) -> bool:
        """Gives the model directory the pool's blob, if there is one and it is what its name says.

        A damaged one leaves the pool, so that it is downloaded again.

        Raises:
            CommandError: it has to be copied and does not fit.
        """
        theirs, ours = self._path / blobs.name_of(digest), blobs.path_of(digest, models)
        ours.parent.mkdir(parents=True, exist_ok=True)
        try:
            identity = theirs.stat().st_ino
            _link_or_copy(theirs, ours)
        except FileNotFoundError:
            return False  # not there, or collected this moment
        if blobs.digest_of(ours) == digest:
            return True
        ours.unlink()
        with suppress(FileNotFoundError):
            if theirs.stat().st_ino == identity:
                theirs.unlink()
        structlog.get_logger().warning(
            "a damaged blob has left the pool: rebuild the models that share it",
            digest=digest,
            models=sorted(
                path.parent.parent.name
                for path in self.store.glob(f"*/blobs/{ours.name}")
                if path.stat().st_ino == identity
            ),
        )
        return False

    def share(self, digest: str, models: Path) -> None:
        """Makes the model directory's blob, which has been hashed, the pool's too.

        Where a rival was faster, his becomes ours, if it is sound; a file that has all the links that it may
        have gives its place to ours. Without hard links every directory keeps its own copy and the pool stays
        empty, since a copy in there would double every model.
        """
        ours, theirs = blobs.path_of(digest, models), self._path / blobs.name_of(digest)
        self._path.mkdir(exist_ok=True)
        try:
            os.link(ours, theirs)
        except FileExistsError:
            if not ours.samefile(theirs):
                self._settle(digest, ours, theirs, models / "link")
        except OSError as error:
            if error.errno not in UNLINKABLE:
                raise

    @property
    def _path(self) -> Path:
        return self.store / FOLDER

    def _settle(self, digest: str, ours: Path, theirs: Path, link: Path) -> None:
        link.unlink(missing_ok=True)
        try:
            os.link(theirs, link)
        except OSError as error:
            if error.errno not in {*UNLINKABLE, errno.ENOENT}:
                raise
        else:
            if blobs.digest_of(link) == digest:
                link.replace(ours)
                return
            link.unlink()
        try:
            os.link(ours, link)
            link.replace(theirs)
        except OSError as error:
            if error.errno not in UNLINKABLE:
                raise


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in UNLINKABLE:
            raise
        free_space.require(target.parent, source.stat().st_size, f"a copy of {source}")
        # The name says that the blob is whole, so it comes last.
        unfinished = target.with_name("incoming")
        shutil.copyfile(source, unfinished)
        unfinished.rename(target)
