"""Removes from a store what no model needs any more: `ollama-eks-provision --collect STORE ROOT...`.

In a cluster the roots are the models that its workloads name: `--roots-of LIST`, see `workloads`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from runtime import cluster, logs
from runtime.command import MARKER, CommandError
from runtime.ollama import pool, staging, workloads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

KEPT_DAYS = 7
"""Days since a model was last a root: a roll-back within them is instant."""

NAMED = ".named"
"""Holds an empty file for each model, as old as its last time as a root: its directory never changes."""

_HASH = re.compile(r"[0-9a-f]{64}")
_BLOB = re.compile(r"sha256-[0-9a-f]{64}")
_DAY_SECONDS = 86_400


class Tally(NamedTuple):
    """What was removed, or would be."""

    models: int
    blobs: int
    stagings: int
    bytes: int


def main() -> None:
    """Collects as the command line says; see its `--help`.

    Raises:
        CommandError: there are no roots, or one is none (`os.EX_DATAERR`); a file of roots cannot be read
            (`os.EX_NOINPUT`); there is no such store (`os.EX_NOINPUT`); or as of `workloads.models`.
        SystemExit: the command line itself is wrong, or asks for help.
    """
    parser = argparse.ArgumentParser(prog="ollama-eks-provision", description=__doc__)
    parser.add_argument("--collect", metavar="STORE", type=Path, required=True, help="the store's root")
    parser.add_argument("roots", metavar="ROOT", nargs="*", help="hash or directory of a model to keep")
    parser.add_argument(
        "--roots", metavar="FILE", dest="files", action="append", default=[], help="more, by line"
    )
    parser.add_argument(
        "--roots-of",
        metavar="LIST",
        action="append",
        default=[],
        help="more: what the workloads of a list of the API server name, such as "
        "apis/apps/v1/namespaces/NAMESPACE/deployments; in a pod with a token that may list it",
    )
    parser.add_argument("--no-roots", action="store_true", help="keep none: needed where there are no roots")
    parser.add_argument(
        "--days", type=float, default=KEPT_DAYS, help="since it was last a root (%(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    given = parser.parse_args()
    if not given.collect.is_dir():
        raise CommandError(f"there is no store {given.collect}", os.EX_NOINPUT)
    logs.configure()
    roots = _roots([*given.roots, *(line for file in given.files for line in _lines(file))])
    if given.roots_of:
        roots |= workloads.models(cluster.connect(), given.roots_of)
    if bool(roots) == given.no_roots:
        sentence = (
            "--no-roots and roots exclude each other: give one or the other"
            if roots
            # Of a cluster, too: a stack without models has no collector, so none is a wrong answer.
            else "there are no roots, so every model of the store would go: if that is meant, say --no-roots"
        )
        raise CommandError(sentence, os.EX_DATAERR)
    collect(given.collect, roots, kept_seconds=given.days * _DAY_SECONDS, dry_run=given.dry_run)


def collect(store: Path, roots: AbstractSet[str], *, kept_seconds: float, dry_run: bool = False) -> Tally:
    """Removes models that are no roots, then the pool's blobs that no model shares, then dead staging.

    A model leaves by one rename, so that none is ever half there. What is no model, blob or staging stays.
    A kill leaves rubbish that the next run of anything here removes.

    Args:
        store: its root.
        roots: the hashes of the models to keep.
        kept_seconds: how long a model is kept after it was last a root, or was published.
        dry_run: log only. Nothing is written, not even that the roots were named.
    """
    log = structlog.get_logger()
    event = "would remove" if dry_run else "removed"
    models = [
        path for path in sorted(store.iterdir()) if _HASH.fullmatch(path.name) and (path / MARKER).exists()
    ]
    if not dry_run:
        _note(store, {path.name for path in models} & roots)
    doomed = [path for path in models if path.name not in roots and _age(store, path) >= kept_seconds]
    freed, gone = 0, Counter[int]()
    for path in doomed:
        own, shared = _weigh(path)
        gone.update(shared)
        freed += own
        if not dry_run:
            _remove_model(store, path)
        log.info(event, what="model", path=str(path), bytes=own)
    stagings = 0
    for dead in staging.dead(store):
        if dead.rubbish and not dead.path.name.startswith(staging.REMOVED):
            own, shared = _weigh(dead.path)
            gone.update(shared)
            freed, stagings = freed + own, stagings + 1
            if not dry_run:
                dead.remove()
            log.info(event, what="staging", path=str(dead.path), bytes=own)
    blobs = 0
    for path, size in _orphans(store / pool.FOLDER, gone if dry_run else Counter()):
        if not dry_run:
            path.unlink(missing_ok=True)
        freed, blobs = freed + size, blobs + 1
        log.info(event, what="blob", path=str(path), bytes=size)
    if not dry_run:
        staging.sweep(store)
    tally = Tally(len(doomed), blobs, stagings, freed)
    log.info("collected", dry_run=dry_run, kept=len(models) - len(doomed), **tally._asdict())
    return tally


def _roots(texts: Iterable[str]) -> set[str]:
    names = {text.strip().rstrip("/").rpartition("/")[2]: text for text in texts}
    wrong = [text for name, text in names.items() if not _HASH.fullmatch(name)]
    if wrong:
        sentence = f"no model's hash or directory: {', '.join(map(repr, wrong))}; nothing was removed"
        raise CommandError(sentence, os.EX_DATAERR)
    return {*names}


def _lines(file: str) -> list[str]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except OSError as error:
        raise CommandError(f"the roots in {file} cannot be read: {error.strerror}", os.EX_NOINPUT) from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _note(store: Path, named: Iterable[str]) -> None:
    (store / NAMED).mkdir(exist_ok=True)
    for name in named:
        (store / NAMED / name).touch()


def _age(store: Path, model: Path) -> float:
    """Seconds since it was last a root, or published."""
    stamps = (model / MARKER, store / NAMED / model.name)
    return time.time() - max(stamp.stat().st_mtime for stamp in stamps if stamp.exists())


def _weigh(folder: Path) -> tuple[int, Counter[int]]:
    """Bytes that only this directory holds, and how many links to each file of others it has."""
    own, shared = 0, Counter[int]()
    for path in folder.rglob("*"):
        if path.is_file():
            state = path.stat()
            if state.st_nlink == 1:
                own += state.st_size
            else:
                shared[state.st_ino] += 1
    return own, shared


def _remove_model(store: Path, path: Path) -> None:
    staging.set_aside(store, path)
    (store / NAMED / path.name).unlink(missing_ok=True)
    # At once, since the pool counts links: what another sweeper is removing meanwhile counts next time.
    staging.sweep(store)


def _orphans(folder: Path, gone: Counter[int]) -> Iterator[tuple[Path, int]]:
    """The pool's blobs that nobody shares, once the links that are counted as gone are.

    A Job that takes one this moment has linked it to its staging, and puts it back when it publishes.
    """
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        if _BLOB.fullmatch(path.name):
            state = path.stat()
            if state.st_nlink - gone[state.st_ino] == 1:
                yield path, state.st_size
