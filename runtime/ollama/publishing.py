"""Turns the directory that a server has filled into a published one: checked, bare and readable."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from runtime.command import MARKER, CommandError
from runtime.ollama import blobs, manifests
from runtime.ollama.model_name import ModelName
from runtime.ollama.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from runtime.spec import ModelSpec


def publish(spec: ModelSpec, models: Path, *, hashed: AbstractSet[str] = frozenset()) -> None:
    """Checks the model in the directory and renames the directory to `spec.directory`, in one step.

    Every blob is hashed, since the server trusts a blob that is there. What the manifest does not name goes:
    the base of a built model, partial downloads. The blobs enter the pool. If another Job was faster, all is
    well.

    Args:
        spec: the model.
        models: the directory that holds it, on the store's file system.
        hashed: the digests of blobs that this run has hashed already.

    Raises:
        CommandError: the model is not there or damaged, or something that is no published model has come in
            the way, which the next run takes out of it (`os.EX_UNAVAILABLE`).
    """
    path = models / ModelName.parse(spec.reference).manifest
    manifest = _manifest(path, spec.reference, models)
    digests = sorted(manifest.sizes)
    files = [_checked(digest, spec.reference, models, hashed) for digest in digests]
    marker = models / MARKER
    marker.write_text(
        json.dumps(
            {
                "reference": spec.reference,
                "digest": manifests.digest_of(path.read_bytes()),
                "bytes": sum(file.stat().st_size for file in files),
                "source": json.loads(spec.source.to_json()),
                "server_version": spec.server_version,
            },
            indent=2,
        )
        + "\n"
    )
    _strip(models, {path, marker, *files})
    # Only what is on the disk may be shared, and before the rename: a published directory never changes.
    for digest in digests:
        Pool(Path(spec.store)).share(digest, models)
    _rename(models, Path(spec.directory))


def _manifest(path: Path, reference: str, models: Path) -> manifests.Manifest:
    """The manifest, freed of the staging directory's name: a model has one digest, wherever it is made."""
    try:
        written = json.loads(path.read_bytes())
        manifest = manifests.Manifest.model_validate(written)
    except (FileNotFoundError, ValueError, ValidationError) as error:
        sentence = f"Ollama reported success but left no usable manifest of {reference}: {error}"
        raise CommandError(sentence, os.EX_UNAVAILABLE) from error
    local = [layer for layer in written["layers"] if str(layer.get("from")).startswith(str(models))]
    for layer in local:
        del layer["from"]
    if local:
        path.write_text(json.dumps(written, separators=(",", ":")))
    return manifest


def _checked(digest: str, reference: str, models: Path, hashed: AbstractSet[str]) -> Path:
    path = blobs.path_of(digest, models)
    found = "nothing"
    if path.exists():
        found = digest if digest in hashed else blobs.digest_of(path)
    if found != digest:
        path.unlink(missing_ok=True)  # or the next run would go on from it
        sentence = f"a blob of {reference} is damaged: {digest} was to be had, {found} came: run this again"
        raise CommandError(sentence, os.EX_UNAVAILABLE)
    return path


def _strip(models: Path, keep: AbstractSet[Path]) -> None:
    """Leaves nothing but the files to keep, readable for every user, and on the disk."""
    for folder, _, names in os.walk(models, topdown=False):
        for path in (Path(folder, name) for name in names):
            if path in keep:
                path.chmod(0o644)
                sync(path)
            else:
                path.unlink()
        if any(Path(folder).iterdir()):
            Path(folder).chmod(0o755)
            sync(Path(folder))
        else:
            Path(folder).rmdir()


def _rename(models: Path, directory: Path) -> None:
    try:
        models.rename(directory)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise
        if not (directory / MARKER).exists():
            sentence = f"{directory} is in the way and holds no {MARKER}: run this again, which removes it"
            raise CommandError(sentence, os.EX_UNAVAILABLE) from error
    sync(directory.parent)


def sync(path: Path) -> None:
    """Waits until the file, or the names in the directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
