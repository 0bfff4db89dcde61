"""The way of a model into its directory: a server of our own makes it in a staging one, which then moves."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import structlog

from runtime import logs
from runtime.ollama import child, publishing
from runtime.ollama.building import Builder

if TYPE_CHECKING:
    from runtime.spec import ModelSpec


def make(spec: ModelSpec, *, stall_seconds: float, pod: str) -> None:
    """Makes and publishes the model. What it raises, and its arguments, are those of `provision`."""
    logs.configure()
    log = structlog.get_logger()
    began = time.monotonic()
    staging = Path(spec.store, ".staging", pod)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    log.info("provisioning", model=spec.reference, directory=str(spec.directory))
    try:
        with child.running(staging, host=os.environ.get("OLLAMA_HOST", "127.0.0.1:11434")) as url:
            asyncio.run(_build(spec, staging, url, stall_seconds))
        log.info("verifying", directory=str(staging))
        publishing.publish(spec, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    log.info("published", directory=str(spec.directory), seconds=round(time.monotonic() - began, 1))


async def _build(spec: ModelSpec, staging: Path, url: str, stall_seconds: float) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as server:  # noqa: S113  see Builder
        await Builder(server=server, models=staging, stall_seconds=stall_seconds).make(spec)
