"""Ollama's HTTP API as a worker uses it: load the model, ask it, and see what is loaded."""

from __future__ import annotations

from typing import Any

import httpx

KEEP_LOADED = -1
"""Never unload: the pod's scaling decides when the memory is given back."""


class Ollama:
    """One server. Errors are httpx's own; what they mean is the caller's to say."""

    def __init__(self, host: str) -> None:
        """Connects to `address:port`, the form of OLLAMA_HOST."""
        # No time limit of its own: loads and answers take as long as the caller allows. And never by a
        # proxy of the environment: the server is on loopback.
        self._http = httpx.AsyncClient(base_url=f"http://{host}", timeout=None, trust_env=False)  # noqa: S113

    async def load(self, model: str, options: dict[str, object]) -> None:
        """Loads a model with exactly the options that requests will send; others would load it again."""
        body = {"model": model, "keep_alive": KEEP_LOADED, "options": options, "stream": False}
        (await self._http.post("/api/generate", json=body)).raise_for_status()

    async def generate(
        self, model: str, *, system: str, prompt: str, options: dict[str, object]
    ) -> httpx.Response:
        """Asks for one whole answer; closing the connection stops the server's work on it."""
        body: dict[str, object] = {
            "model": model,
            "prompt": prompt,
            "options": options,
            "keep_alive": KEEP_LOADED,
            "stream": False,
            # By default the server cuts an over-long prompt in the middle and tells nobody.
            "truncate": False,
            # By default it forgets the beginning when the context is full, and writes on.
            "shift": False,
        }
        if system:
            body["system"] = system
        return await self._http.post("/api/generate", json=body)

    async def loaded_digest(self) -> str:
        """The manifest digest of the model that is loaded (the server keeps one), empty for none."""
        loaded: list[dict[str, Any]] = (await self._http.get("/api/ps", timeout=5)).json()["models"]
        return str(loaded[0]["digest"]) if loaded else ""

    async def close(self) -> None:
        """Ends every connection."""
        await self._http.aclose()
