"""The model server's state: as long as its model does not answer, nothing is received."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import structlog

from runtime.worker.clock import SYSTEM, Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.ollama.client import Loaded, Ollama
    from runtime.spec import TaskSpec

log = structlog.get_logger()

RETRY_SECONDS = 1.0
"""Between tries to have the model loaded."""

CHECK_SECONDS = 30.0
"""Between looks at a model that is loaded."""

PING_SECONDS = 10.0
"""Between looks at a server that loads: one that answers is not stuck, however long the load takes."""

FIRST_WORD_SECONDS = 60.0
"""What a loaded model gets for its first word; one that takes longer hangs."""

SICK_SECONDS = 120.0
"""How long a server may fail before the pod is given up."""


MAX_DEATHS = 5
"""In a row, without an answer between them. A GPU that is broken may load a model and write a first word, and
then kill whatever it is asked: its server is given up before it condemns one document after the other. The
kubelet starts another one, ever more slowly, and each gets one try."""

MAX_SILENT = 3
"""Looks in a row that get no answer in time: of a server that is merely slow, none has to be believed."""


class NotResidentError(Exception):
    """The model is loaded, but not where it should be."""


class Server:
    """Keeps the model loaded, and says whether documents can be put to it.

    Attributes:
        digest: the loaded model's manifest digest, empty while there is none that answers.
        vision: whether the model can see.
    """

    def __init__(
        self,
        ollama: Ollama,
        task: TaskSpec,
        *,
        loaded: Callable[[float, int, int], None] = lambda _seconds, _bytes, _gpu_bytes: None,
        clock: Clock = SYSTEM,
    ) -> None:
        """`loaded` hears of each load: seconds that it took, bytes in all, bytes of them on GPUs."""
        self.digest = ""
        self.vision = False
        self._ollama = ollama
        self._task = task
        self._tell = loaded
        self._clock = clock
        self._failing_since: float | None = None
        self._deaths = 0
        self._slow = False
        self._silent = 0
        self._change = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the model answers, as far as is known."""
        return bool(self.digest) and self._deaths < MAX_DEATHS

    @property
    def alive(self) -> bool:
        """Whether the server has not been failing for too long, or too often."""
        since = self._failing_since
        well = since is None or self._clock.monotonic() - since < SICK_SECONDS
        return well and self._deaths < MAX_DEATHS

    def mark_sick(self, *, died: bool = False) -> None:
        """Takes note that the server failed: its model has to answer again before anything is received."""
        # Once for all documents that were there: whoever comes later finds it sick.
        self._deaths += died and bool(self.digest)
        self._set("")

    def mark_well(self) -> None:
        """Takes note that it answered a document."""
        if self._deaths:
            self._deaths = 0
            self._set(self.digest)

    async def wait_until_ready(self) -> None:
        """Returns once the model answers."""
        while not self.ready:
            await self._change.wait()

    async def keep(self) -> None:
        """Has the model loaded, for ever: at the start, and whenever the server was found sick."""
        while True:
            if not self.digest:
                await self._load()
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._change.wait()
            except TimeoutError:
                await self._look()

    async def _load(self) -> None:
        reported = ""
        while True:
            started = self._clock.monotonic()
            self._slow = False
            try:
                loaded = await self._try()
            except (httpx.HTTPError, NotResidentError, TimeoutError, ValueError, KeyError) as error:
                problem = _said(error)
            else:
                break
            # What takes its time and fails would never be given up by the clock.
            self._deaths += self._slow
            if self._failing_since is None:
                self._failing_since = self._clock.monotonic()
            if problem != reported:
                log.warning("model not loaded yet", model=self._task.model.reference, problem=problem)
            reported = problem
            await self._clock.sleep(RETRY_SECONDS)
        seconds = self._clock.monotonic() - started
        self._failing_since = None
        self._tell(seconds, loaded.size, loaded.size_vram)
        log.info(
            "model loaded",
            model=self._task.model.reference,
            digest=loaded.digest,
            seconds=round(seconds, 3),
            bytes=loaded.size,
            gpu_bytes=loaded.size_vram,
        )
        self._set(loaded.digest)

    async def _try(self) -> Loaded:
        loading = asyncio.ensure_future(self._ollama.load(self._task))
        try:
            while not (await asyncio.wait({loading}, timeout=PING_SECONDS))[0]:
                await self._ollama.ping()
                self._failing_since = None
                self._slow = True
        finally:
            loading.cancel()
        loading.result()
        self.vision = "vision" in await self._ollama.capabilities(self._task.model.reference)
        # A loaded model may still hang, as one does whose GPU is lost.
        async with asyncio.timeout(FIRST_WORD_SECONDS):
            await self._ollama.first_word(self._task)
        return await self._resident()

    async def _resident(self) -> Loaded:
        """What is loaded, if it is all where the task wants it."""
        loaded = await self._ollama.loaded()
        if loaded is None:
            raise NotResidentError("the server took the model and does not list it")
        if self._task.gpus == 0 and loaded.size_vram:
            raise NotResidentError(f"{loaded.size_vram} bytes are on a GPU, and the task has gpuCount 0")
        chosen = self._task.options.num_gpu is not None
        if self._task.gpus and not chosen and loaded.size_vram < loaded.size:
            raise NotResidentError(
                f"only {loaded.size_vram} of {loaded.size} bytes are in GPU memory; choose a smaller "
                "num_ctx, another quantisation or a larger GPU, or set num_gpu to have it so"
            )
        return loaded

    async def _look(self) -> None:
        """Marks the server sick if what was loaded is not there any more."""
        try:
            await self._resident()
        except httpx.TimeoutException as error:
            # A busy machine is slow now and then, and a document may be in its only slot.
            self._silent += 1
            if self._silent < MAX_SILENT:
                return
            problem = _said(error)
        except (httpx.HTTPError, NotResidentError, ValueError, KeyError) as error:
            # Given up, it is asked nothing: so it was the kubelet that ended it, and the next one gets a try.
            self._deaths = min(self._deaths, MAX_DEATHS - 1)
            problem = _said(error)
        else:
            self._silent = 0
            return
        self._silent = 0
        log.warning("model not there any more", problem=problem)
        self.mark_sick()

    def _set(self, digest: str) -> None:
        self.digest = digest
        self._change.set()
        self._change = asyncio.Event()


def _said(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answered {error.response.status_code}: {error.response.text[:500]}"
    if isinstance(error, NotResidentError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
