"""Directories of S3: which of their objects make a model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runtime.command import CommandError
from runtime.ollama import weights

if TYPE_CHECKING:
    from collections.abc import Mapping


def named(source: str, name: str) -> Mapping[str, str]:
    """The sources of single files by the names that a server is told.

    Args:
        source: an object or a directory of S3, or an absolute path.
        name: what a single file is called.

    Raises:
        CommandError: `os.EX_DATAERR` if the directory holds no model, `os.EX_UNAVAILABLE` if it cannot be
            listed now.
    """
    if not (source.startswith(weights.S3) and source.endswith(weights.DIRECTORY)):
        return {name: source}
    try:
        return {key: f"{source}{key}" for key in weights.of_directory(_keys(source))}
    except ValueError as error:
        sentence = f"{source} {error}: give a directory that does, with a / at its end"
        raise CommandError(sentence, os.EX_DATAERR) from error


def _keys(directory: str) -> list[str]:
    """The keys below it, without the part that they share."""
    import boto3  # noqa: PLC0415  slow to import, and few models need it
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    bucket, _, prefix = directory.removeprefix(weights.S3).partition("/")
    try:
        s3 = boto3.client("s3")  # pyright: ignore[reportUnknownMemberType]  other services' types
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [
            found.get("Key", "").removeprefix(prefix) for page in pages for found in page.get("Contents", ())
        ]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            raise CommandError(f"{directory}: there is no such bucket", os.EX_DATAERR) from error
        # A new identity takes a while to reach the pod, so a denial may mend by itself.
        sentence = f"{directory} cannot be listed: {error}; this identity may lack s3:ListBucket"
        raise CommandError(sentence, os.EX_UNAVAILABLE) from error
    except BotoCoreError as error:
        raise CommandError(f"{directory} cannot be had from S3 now: {error}", os.EX_UNAVAILABLE) from error
