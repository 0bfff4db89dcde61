"""Reads a model's files into the page cache while its server starts, so that the load finds them there.

It is a child of the server's process: pages are charged to the cgroup of whoever reads them first, and this
is the one that keeps them. Whatever goes wrong with it, the server loads the model all the same.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MEMORY_SHARE = 0.7
"""Of the memory limit, what the files may take: beyond it, the last pages would push out the first ones."""

READERS = min(4, os.cpu_count() or 1)
"""Over NFS one reader is bound by the way there and back. On two cores, four only took time from the load."""

BLOCK_BYTES = 8 * 1024 * 1024

LONGEST_SECONDS = 900
"""A file system that hangs holds no reader for longer; the server gives a load that stands still no more."""

PR_SET_PDEATHSIG = 1


def start(directory: Path) -> None:
    """Begins to read a published model, in a child, and returns at once. Never raises an OSError.

    The child ends by SIGKILL when this thread's process does, also after an exec: the signal is bound to the
    thread that forked (prctl(2), PR_SET_PDEATHSIG), exec keeps that thread, and a Go program never ends its
    first one. In a container the end of process 1 ends it anyway. A server that does not know of it leaves it
    as a zombie when it is done: one entry of the process table, for the pod's life. A second fork would not
    help, as process 1, to which it would fall, is that server.
    """
    parent = os.getpid()
    try:
        if os.fork():
            return
    except OSError as error:
        _log("error", "the model is not read ahead", problem=str(error))
        return
    # Here nothing may return into the caller's frames.
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _end_with(parent)
        signal.alarm(LONGEST_SECONDS)
        report(directory)
    except BaseException as error:  # noqa: BLE001  a bug is shown, and still is none of the server's
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


def _end_with(parent: int) -> None:
    import ctypes  # noqa: PLC0415  the server waits for nothing that only the child needs

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It went before it was asked for.
        os._exit(0)


def report(directory: Path) -> None:
    """Reads the model, if there is room for it, and says in one line of log what that came to."""
    try:
        files = model_files(directory)
        size, limit = sum(length for _, length in files), memory_limit()
        if size > MEMORY_SHARE * limit:
            _log("warning", "the model is not read ahead: too large", bytes=size, memory_limit=limit)
            return
        began = time.monotonic()
        done = read(files)
        seconds = time.monotonic() - began
    except (OSError, ValueError) as error:
        _log("error", "the model is not read ahead", problem=f"{type(error).__name__}: {error}")
        return
    rate = round(done / max(seconds, 1e-3))
    _log("info", "model read ahead", bytes=done, seconds=round(seconds, 3), bytes_per_second=rate)


def model_files(directory: Path) -> list[tuple[Path, int]]:
    """A model's blobs and their sizes in bytes, the largest first.

    A published directory has the blobs that its manifest names, and no others (`runtime.ollama.publishing`).

    Raises:
        OSError: there are none.
    """
    files = [(path, path.stat().st_size) for path in (directory / "blobs").iterdir()]
    return sorted(files, key=lambda file: (-file[1], file[0]))


def read(files: Sequence[tuple[Path, int]]) -> int:
    """Reads all of the files, in the order given, and returns how many bytes that were."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  as above
    from functools import partial  # noqa: PLC0415

    with ThreadPoolExecutor(READERS) as pool:
        return sum(pool.map(partial(_stripe, files), range(READERS)))


def _stripe(files: Sequence[tuple[Path, int]], turn: int) -> int:
    """Reads one block of so many as there are readers: together they go through a file as the server does."""
    buffer, done = bytearray(BLOCK_BYTES), 0
    for path, size in files:
        with path.open("rb", buffering=0) as file:
            # Doubles the kernel's own reading ahead; WILLNEED reads no more than that at once.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            for offset in range(turn * BLOCK_BYTES, size, READERS * BLOCK_BYTES):
                done += os.preadv(file.fileno(), [buffer], offset)
    return done


def memory_limit(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process may use: the narrowest limit of its cgroups, or all there are.

    In a container its own cgroup may be the root of what is mounted, whatever name /proc has for it.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers:
            root, file = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, file = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        own = root / name.strip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root) and (folder / file).exists():
                limit = (folder / file).read_text().strip()
                # `max`, and with version 1 a number beyond any memory, is no limit.
                limits += [int(limit)] if limit.isdecimal() else []
    return min(limits)


def _log(level: str, event: str, **values: object) -> None:
    import structlog  # noqa: PLC0415  as above

    from runtime import logs  # noqa: PLC0415

    logs.configure()
    getattr(structlog.get_logger(), level)(event, **values)
