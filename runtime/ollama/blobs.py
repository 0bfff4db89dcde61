"""Files of a model directory that are named by their own digest."""

from __future__ import annotations

import hashlib
import os
import shutil
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import CommandError
from runtime.ollama import free_space

if TYPE_CHECKING:
    from threading import Event

    from runtime.ollama.progress import Progress

PIECE_BYTES = 1024 * 1024
"""As much as NFS asks for at once (the EFS mount helper's `rsize`)."""


def path_of(digest: str, models: Path) -> Path:
    """Where the model directory keeps the bytes of `sha256:<64 hex digits>`."""
    return models / "blobs" / name_of(digest)


def name_of(digest: str) -> str:
    """The name of the file that holds the bytes of `sha256:<64 hex digits>`."""
    return digest.replace(":", "-")


def digest_of(path: Path, stop: Event | None = None) -> str:
    """The digest of the file's bytes, `sha256:<64 hex digits>`; of some of them once `stop` is set."""
    found = hashlib.sha256()
    piece = memoryview(bytearray(PIECE_BYTES))
    with path.open("rb", buffering=0) as file:
        while (stop is None or not stop.is_set()) and (length := file.readinto(piece)):
            found.update(piece[:length])
    return f"sha256:{found.hexdigest()}"


def adopt(source: str, models: Path, progress: Progress) -> str:
    """Copies a file straight to where the server looks for blobs, instead of sending it through the server.

    That would write it twice, and file systems that are paid by the byte written are common here.

    Args:
        source: `s3://bucket/key` or an absolute path.
        models: the model directory.
        progress: told how far the copy is.

    Returns:
        Its digest, `sha256:<64 hex digits>`.

    Raises:
        CommandError: `os.EX_DATAERR` if there is no such file, `os.EX_UNAVAILABLE` if it cannot be had now.
    """
    incoming = models / "incoming"
    if source.startswith("s3://"):
        _download(source, incoming, progress)
    else:
        progress(f"copying {source}")
        try:
            free_space.require(models, Path(source).stat().st_size, f"FROM {source}")
            shutil.copyfile(source, incoming)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            sentence = f"FROM {source}: {error.strerror}: give the absolute path of a GGUF file that is there"
            raise CommandError(sentence, os.EX_DATAERR) from error
    progress(f"hashing {source}")
    digest = digest_of(incoming)
    blob = path_of(digest, models)
    blob.parent.mkdir(exist_ok=True)
    incoming.rename(blob)
    return digest


def _download(url: str, target: Path, progress: Progress) -> None:
    import boto3  # noqa: PLC0415  slow to import, and few models need it
    from boto3.exceptions import Boto3Error  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    bucket, _, key = url.removeprefix("s3://").partition("/")
    limits = Config(
        connect_timeout=10, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2}
    )
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(f"downloading {url}", done, total)

    try:
        s3 = boto3.client("s3", config=limits)  # pyright: ignore[reportUnknownMemberType]  other services' types
        total = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        free_space.require(target.parent, total, url)
        s3.download_file(bucket, key, str(target), Callback=count)
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == HTTPStatus.NOT_FOUND:
            sentence = f"{url} does not exist: correct the bucket or the key in FROM"
            raise CommandError(sentence, os.EX_DATAERR) from error
        # A new identity takes a while to reach the pod, so a denial may mend by itself.
        sentence = f"{url} cannot be read: {error}; it may be missing, or this identity may lack s3:GetObject"
        raise CommandError(sentence, os.EX_UNAVAILABLE) from error
    except (BotoCoreError, Boto3Error) as error:
        sentence = f"{url} cannot be had from S3 now: {error}"
        raise CommandError(sentence, os.EX_UNAVAILABLE) from error
