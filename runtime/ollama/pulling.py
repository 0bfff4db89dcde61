"""A pull that uses what is there, asks before it downloads, tries again, and hashes what comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from runtime.command import CommandError
from runtime.model import ModelSpec
from runtime.ollama import blobs, free_space, manifests, partials, publishing, staging
from runtime.ollama.model_name import ModelName

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from pathlib import Path

    from runtime.model import ModelSource
    from runtime.ollama.building import Builder
    from runtime.ollama.pool import Pool
    from runtime.ollama.staging import Staging

OFFER_SECONDS = 10
"""For the manifest, asked ahead: a registry that is slower than this is left to the server's patience."""

LOOK_SECONDS = 0.1
"""How often a pull is looked at for a blob that has become whole."""

_DAMAGED = "digest mismatch"


@dataclass(kw_only=True, slots=True)
class Puller:
    """Pulls into one staging directory.

    Attributes:
        builder: has the server pull, once.
        place: the staging directory of that server.
        pool: of the same store.
        retry_seconds: the pauses between tries that bring nothing; bytes start them anew.
    """

    builder: Builder
    place: Staging
    pool: Pool
    retry_seconds: Sequence[float]

    async def pull(self, source: ModelSource) -> set[str]:
        """Makes the directory hold the model.

        Returns:
            The digests of the blobs that were hashed in passing.

        Raises:
            CommandError: as of `Builder.make`; or it does not fit, or it is not the one that is pinned.
        """
        spec = ModelSpec(source=source, store=str(self.pool.store))
        offer = await self._offer(source)
        sizes: Mapping[str, int] = {} if offer is None else offer.manifest.sizes
        sound = self._gather(sizes)
        what = f"model {source.pull_name}"
        free_space.require(self.place.path, partials.missing(sizes, self.place.models), what)
        self.builder.progress.expect(sizes, self._present(sizes))
        async with self._hashing(set(sizes) - sound) as hashed:
            await self._persist(spec)
        return sound | hashed

    async def _offer(self, source: ModelSource) -> manifests.Offer | None:
        """What the registry has, before gigabytes of it are on their way.

        Raises:
            CommandError: it is not what the source is pinned to (`os.EX_DATAERR`).
        """
        name = str(source.pull_name)
        try:
            async with asyncio.timeout(min(OFFER_SECONDS, self.builder.stall_seconds)):
                offer = await manifests.offered(name, plain_http=source.plain_http)
        except TimeoutError:
            return None  # the server will meet the same silence, and has the words for it
        if offer is not None and source.digest not in {None, offer.digest}:
            sentence = (
                f"model {name} is pinned to {source.digest}, and registry {ModelName.parse(name).host} has "
                f"{offer.digest} under that tag now, so nothing was downloaded: take the new one "
                "(`ollama-eks pin` writes it to the stack file), or name a tag that still has the pinned one"
            )
            raise CommandError(sentence, os.EX_DATAERR)
        return offer

    def _gather(self, sizes: Mapping[str, int]) -> set[str]:
        """Takes what the pool has of the model, then what dead runs have downloaded; says what is sound.

        Without a manifest, which some registries keep from us, that is all that dead runs for this model
        have.
        """
        models = self.place.models
        sound = {digest for digest in sizes if self.pool.take(digest, models)}
        for dead in staging.dead(self.pool.store):
            mine = dead.owner == self.place.owner
            found = partials.found(dead.models)
            wanted = (found if mine and not sizes else found & set(sizes)) - sound
            sound |= {digest for digest in wanted if partials.adopt(digest, dead.models, models)}
            if wanted:
                structlog.get_logger().info("going on from an earlier try", staging=dead.path.name)
            if mine or dead.rubbish:
                dead.remove()
        return sound

    def _present(self, sizes: Mapping[str, int]) -> Mapping[str, int]:
        paths = {digest: blobs.path_of(digest, self.place.models) for digest in sizes}
        return {
            digest: sizes[digest] if path.exists() else partials.completed(path)
            for digest, path in paths.items()
        }

    async def _persist(self, spec: ModelSpec) -> None:
        """Has the server pull until it succeeds, fails for good, or brings nothing over all pauses."""
        pauses, mended = list(self.retry_seconds), False
        while True:
            before = self.builder.progress.furthest
            try:
                await self.builder.make(spec)
            except CommandError as error:
                text = str(error)
                damaged = _DAMAGED in text
                if (
                    error.exit_code != os.EX_UNAVAILABLE
                    or free_space.NO_SPACE in text
                    or (damaged and mended)
                ):
                    raise
                mended = mended or damaged  # once: its file is gone, and may have been an earlier try's
                if not damaged and self.builder.progress.furthest > before:
                    pauses = list(self.retry_seconds)
                if not pauses:
                    raise
                pause = pauses.pop(0)
                structlog.get_logger().warning("trying again", seconds=pause, reason=text)
                await asyncio.sleep(pause)
            else:
                return

    @contextlib.asynccontextmanager
    async def _hashing(self, digests: set[str]) -> AsyncGenerator[set[str]]:
        """Hashes blobs while later ones are on their way and the server hashes its own: time that is free."""
        hashed: set[str] = set()
        ended, stop = asyncio.Event(), threading.Event()

        async def look() -> None:
            last = False
            while not last:
                last = ended.is_set()
                for digest in sorted(digests - hashed):
                    path = blobs.path_of(digest, self.place.models)
                    if path.exists() and await asyncio.to_thread(_sound, digest, path, stop):
                        hashed.add(digest)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), LOOK_SECONDS)

        looking = asyncio.create_task(look())
        try:
            yield hashed
            ended.set()
            await looking
        finally:
            stop.set()
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking


def _sound(digest: str, path: Path, stop: threading.Event) -> bool:
    """Whether the file is what its name says; its bytes are on their way to the disk meanwhile."""
    try:
        with ThreadPoolExecutor(1) as disk:
            written = disk.submit(publishing.sync, path)
            sound = blobs.digest_of(path, stop) == digest
            written.result()
    except FileNotFoundError:
        return False  # the server has found it damaged first
    return sound
