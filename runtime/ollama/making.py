"""The way of a model into its directory: a server of our own makes it in a staging one, which then moves."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import structlog

from runtime import logs
from runtime.command import CommandError, is_whole
from runtime.ollama import child, free_space, partials, publishing, staging
from runtime.ollama.building import Builder
from runtime.ollama.pool import Pool
from runtime.ollama.pulling import Puller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.ollama.staging import Staging
    from runtime.spec import ModelSpec


def make(spec: ModelSpec, *, stall_seconds: float, retry_seconds: Sequence[float], pod: str) -> None:
    """Makes and publishes the model. What it raises, and its arguments, are those of `provision`."""
    logs.configure()
    log = structlog.get_logger()
    began = time.monotonic()
    store = Path(spec.store)
    host = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434")
    log.info("provisioning", model=spec.reference, directory=str(spec.directory))
    with staging.claim(store, pod=pod, owner=spec.hash) as place:
        _set_aside_what_is_damaged(spec)
        staging.sweep(store)
        try:
            with child.running(
                place.models, host=host, log=place.path / "server.log", lock=place.lock
            ) as url:
                hashed = asyncio.run(_fill(spec, place, url, stall_seconds, retry_seconds))
            log.info("verifying", directory=str(place.models))
            publishing.publish(spec, place.models, hashed=hashed)
            staging.sweep(store)
        except BaseException as error:
            if not _worth_keeping(error, place):
                place.remove()
            raise
        place.remove()
    log.info("published", directory=str(spec.directory), seconds=round(time.monotonic() - began, 1))


def _set_aside_what_is_damaged(spec: ModelSpec) -> None:
    """Makes room for the model where files of it were lost; servers that have it open keep what they have."""
    directory = Path(spec.directory)
    if directory.exists() and not is_whole(directory):
        structlog.get_logger().warning(
            "the published model is damaged and made anew", directory=str(directory)
        )
        staging.set_aside(Path(spec.store), directory)


async def _fill(
    spec: ModelSpec, place: Staging, url: str, stall_seconds: float, retry_seconds: Sequence[float]
) -> set[str]:
    """Has the server make the model; the digests of the blobs that were hashed on the way."""
    async with httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as server:  # noqa: S113  see Builder
        builder = Builder(server=server, models=place.models, stall_seconds=stall_seconds)
        try:
            spec.source.check()
        except ValueError as error:
            raise CommandError(str(error), os.EX_DATAERR) from error
        hashed: set[str] = set()
        if spec.source.pulled is not None:
            pool = Pool(Path(spec.store))
            puller = Puller(builder=builder, place=place, pool=pool, retry_seconds=retry_seconds)
            hashed = await puller.pull(spec.source.pulled)
        else:
            staging.sweep(Path(spec.store), owner=spec.hash)  # a copy of files is not gone on from
        if spec.source.pull_name is None:
            await builder.create(spec)
        return hashed


def _worth_keeping(error: BaseException, place: Staging) -> bool:
    """Whether a later run can go on from the download: after an end from outside, or one that may mend.

    On a full disk it would be in the way.
    """
    final = isinstance(error, CommandError) and error.exit_code != os.EX_UNAVAILABLE
    return not final and free_space.NO_SPACE not in str(error).lower() and bool(partials.found(place.models))
