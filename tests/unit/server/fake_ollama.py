"""A model server that does as it is told, and the worker's view of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import httpx

from runtime.ollama.client import Loaded, Ollama
from runtime.worker.server import Server
from tests.unit.tasks import task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from runtime.spec import TaskSpec
    from tests.unit.clocks import Clock

ON_CPU = task()
ON_GPU = task(gpus=1)
BROKEN = httpx.HTTPStatusError(
    "", request=httpx.Request("POST", "http://o"), response=httpx.Response(500, text="CUDA error")
)
GONE = httpx.ConnectError("refused")
STEPS = ["load", "capabilities", "first_word", "loaded"]


def loaded(size_vram: int = 0) -> Loaded:
    """The model of 100 bytes, so many of them on a GPU."""
    return Loaded(name="tiny:latest", digest="sha", size=100, size_vram=size_vram)


class FakeOllama:
    """A server that does what `script` says for a step: raise, give, or call; healthy without it."""

    def __init__(self, size_vram: int = 0) -> None:
        self.asked: list[str] = []
        self.script: dict[str, Any] = {}
        self._healthy = {"capabilities": frozenset({"vision"}), "loaded": loaded(size_vram)}

    async def load(self, _task: TaskSpec) -> None:
        """Loads."""
        await self._step("load")

    async def capabilities(self, model: str) -> frozenset[str]:
        """Says that it sees."""
        assert model == "tiny"
        return await self._step("capabilities")

    async def first_word(self, _task: TaskSpec) -> None:
        """Says something."""
        await self._step("first_word")

    async def loaded(self) -> Loaded | None:
        """Says what is loaded."""
        return await self._step("loaded")

    async def ping(self) -> None:
        """Answers."""
        await self._step("ping")

    async def _step(self, name: str) -> Any:  # noqa: ANN401
        self.asked.append(name)
        await asyncio.sleep(0)
        what = self.script.get(name, self._healthy.get(name))
        if isinstance(what, Exception):
            raise what
        call: Any = what if callable(what) else None
        return await call() if call else what


async def hang() -> None:
    """Never answers."""
    await asyncio.Event().wait()


def serve(
    ollama: FakeOllama,
    clock: Clock,
    task: TaskSpec = ON_CPU,
    loaded: Callable[[float, int, int], None] = lambda *_: None,
) -> Server:
    """The code under test, over a fake server."""
    return Server(cast("Ollama", ollama), task, loaded=loaded, clock=clock)


@contextlib.asynccontextmanager
async def kept(server: Server) -> AsyncGenerator[None]:
    """Has it keep its model loaded until the block ends."""
    keeping = asyncio.ensure_future(server.keep())
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
