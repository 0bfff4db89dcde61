"""Turns the directory that a server has filled into a published one: checked, bare and readable."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, StringConstraints, ValidationError

from runtime.command import MARKER, CommandError
from runtime.ollama import blobs
from runtime.ollama.model_name import ModelName

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from runtime.spec import ModelSpec


class Layer(BaseModel):
    """One blob that a manifest names."""

    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What a model consists of."""

    config: Layer
    layers: list[Layer]


def publish(spec: ModelSpec, staging: Path) -> None:
    """Checks the model in the staging directory and renames the directory to `spec.directory`, in one step.

    Every blob is hashed, since the server trusts a blob that is there. What the manifest does not name goes:
    the base of a built model, partial downloads, the server's log. If another Job was faster, all is well.

    Raises:
        CommandError: the model is not there or damaged (`os.EX_UNAVAILABLE`), or something that is no
            published model is in the way (`os.EX_DATAERR`).
    """
    path = staging / ModelName.parse(spec.reference).manifest
    manifest = _manifest(path, spec.reference, staging)
    digests = {layer.digest for layer in (manifest.config, *manifest.layers)}
    files = [_checked(digest, spec.reference, staging) for digest in sorted(digests)]
    marker = staging / MARKER
    marker.write_text(
        json.dumps(
            {
                "reference": spec.reference,
                "digest": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
                "bytes": sum(file.stat().st_size for file in files),
                "source": json.loads(spec.source.to_json()),
                "server_version": spec.server_version,
            },
            indent=2,
        )
        + "\n"
    )
    _strip(staging, {path, marker, *files})
    _rename(staging, Path(spec.directory))


def _manifest(path: Path, reference: str, staging: Path) -> Manifest:
    """The manifest, freed of the staging directory's name: a model has one digest, wherever it is made."""
    try:
        written = json.loads(path.read_bytes())
        manifest = Manifest.model_validate(written)
    except (FileNotFoundError, ValueError, ValidationError) as error:
        sentence = f"Ollama reported success but left no usable manifest of {reference}: {error}"
        raise CommandError(sentence, os.EX_UNAVAILABLE) from error
    local = [layer for layer in written["layers"] if str(layer.get("from")).startswith(str(staging))]
    for layer in local:
        del layer["from"]
    if local:
        path.write_text(json.dumps(written, separators=(",", ":")))
    return manifest


def _checked(digest: str, reference: str, staging: Path) -> Path:
    path = blobs.path_of(digest, staging)
    found = blobs.digest_of(path) if path.exists() else "nothing"
    if found != digest:
        sentence = f"a blob of {reference} is damaged: {digest} was to be had, {found} came: run this again"
        raise CommandError(sentence, os.EX_UNAVAILABLE)
    return path


def _strip(staging: Path, keep: AbstractSet[Path]) -> None:
    """Leaves nothing but the files to keep, readable for every user, and on the disk."""
    for folder, _, names in os.walk(staging, topdown=False):
        for path in (Path(folder, name) for name in names):
            if path in keep:
                path.chmod(0o644)
                _sync(path)
            else:
                path.unlink()
        if any(Path(folder).iterdir()):
            Path(folder).chmod(0o755)
            _sync(Path(folder))
        else:
            Path(folder).rmdir()


def _rename(staging: Path, directory: Path) -> None:
    try:
        staging.rename(directory)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise
        if not (directory / MARKER).exists():
            sentence = f"{directory} is in the way and holds no {MARKER}: remove it, then run this again"
            raise CommandError(sentence, os.EX_DATAERR) from error
    _sync(directory.parent)


def _sync(path: Path) -> None:
    """Waits until the file, or the names in the directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
