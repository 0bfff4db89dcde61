"""The model server's state: as long as its model is not loaded, nothing is received."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import structlog

if TYPE_CHECKING:
    from runtime.ollama.client import Ollama
    from runtime.spec import TaskSpec

log = structlog.get_logger()

RETRY_SECONDS = 1.0

SICK_SECONDS = 120.0
"""How long a server may be unable to have its model loaded before the pod is given up."""


class Server:
    """Keeps the model loaded and says since when it is not.

    Attributes:
        digest: the loaded model's manifest digest, empty while none is loaded.
    """

    def __init__(self, ollama: Ollama, task: TaskSpec) -> None:
        self._ollama = ollama
        self._task = task
        self._sick_since: float | None = None
        self.digest = ""

    @property
    def ready(self) -> bool:
        """Whether the model is loaded, as far as is known."""
        return bool(self.digest)

    @property
    def alive(self) -> bool:
        """Whether the server has not been failing for too long; a load under way may take what it takes."""
        return self._sick_since is None or time.monotonic() - self._sick_since < SICK_SECONDS

    def mark_sick(self) -> None:
        """Takes note that the server failed: it has to show its model again before anything is received."""
        self.digest = ""
        self._sick_since = self._sick_since or time.monotonic()

    async def load(self) -> None:
        """Returns once the model is loaded, however often that has to be tried."""
        options = self._task.options.wire()
        reported = ""
        while not self.ready:
            try:
                await self._ollama.load(self._task.model.reference, options)
                self.digest = await self._ollama.loaded_digest()
                problem = "" if self.ready else "the server took the model and does not list it"
            except httpx.HTTPStatusError as error:
                problem = f"the server answered {error.response.status_code}: {error.response.text}"
            except (httpx.HTTPError, ValueError, KeyError) as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                self.mark_sick()
                if problem != reported:
                    log.warning("model not loaded yet", model=self._task.model.reference, problem=problem)
                reported = problem
                await asyncio.sleep(RETRY_SECONDS)
        if self._sick_since is not None or reported:
            log.info("model loaded", model=self._task.model.reference, digest=self.digest)
        self._sick_since = None
