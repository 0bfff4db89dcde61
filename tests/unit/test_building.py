"""How the lines of a server are followed. The server is a script here, and a real one in the worker tier."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
from typing import TYPE_CHECKING

import httpx
import pytest

from runtime.command import CommandError
from runtime.ollama.building import Builder
from runtime.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

Script = tuple["Mapping[str, object] | float", ...]

STALL_SECONDS = 45.0
PAUSE = 20.0

MANIFEST = {"status": "pulling manifest"}
VERIFYING = {"status": "verifying sha256 digest"}
SUCCESS = {"status": "success"}
REGISTRY = "registry.ollama.ai"


class HeldLoop(asyncio.SelectorEventLoop):
    """An event loop whose time moves when there is nothing left to do but wait, and then at once."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since the loop began."""
        return self.now


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: HeldLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now += timeout or 0
        return super().select(0)


def _pulling(completed: int, digest: str = "0123456789ab") -> Mapping[str, object]:
    return {"status": f"pulling {digest}", "digest": digest, "total": 10, "completed": completed}


def _make(models: Path, script: Script, **source: str) -> None:
    """Makes a model with a server whose answer is the script; a number in it is a pause in seconds."""

    async def lines() -> AsyncIterator[bytes]:
        for step in script:
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield json.dumps(step).encode() + b"\n"

    async def make() -> None:
        transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=lines()))
        spec = ModelSpec(source=ModelSource.model_validate(source or {"from": "tiny"}))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as server:
            await Builder(server=server, models=models, stall_seconds=STALL_SECONDS).make(spec)

    with asyncio.Runner(loop_factory=HeldLoop) as runner:
        runner.run(make())


@pytest.mark.parametrize(
    "script",
    [
        pytest.param((MANIFEST, PAUSE, _pulling(1), PAUSE, _pulling(2), PAUSE, SUCCESS), id="bytes"),
        pytest.param(
            (MANIFEST, PAUSE, _pulling(0), PAUSE, _pulling(0, "ba9876543210"), PAUSE, SUCCESS), id="blobs"
        ),
        pytest.param((*(_pulling(10), PAUSE) * 4, SUCCESS), id="a whole file is being closed"),
        pytest.param((MANIFEST, VERIFYING, 100 * PAUSE, SUCCESS), id="the server hashes in silence"),
    ],
)
def test_a_pull_lasts_as_long_as_it_moves_or_the_server_works(tmp_path: Path, script: Script) -> None:
    """Each step forward gives the registry its whole time again; the server's own work is no stall."""
    _make(tmp_path, script)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param((MANIFEST, 3 * PAUSE, SUCCESS), id="silence"),
        pytest.param((*(_pulling(5), PAUSE) * 4, SUCCESS), id="the same line again and again"),
        pytest.param((*(_pulling(5), PAUSE, _pulling(3), PAUSE) * 2, SUCCESS), id="back and forth"),
        pytest.param((VERIFYING, _pulling(5), 3 * PAUSE, SUCCESS), id="silence after the server's own work"),
    ],
)
def test_lines_without_progress_are_a_stall(tmp_path: Path, script: Script) -> None:
    """The server repeats its line 16 times a second and tries again for ever: the furthest point counts."""
    with pytest.raises(
        CommandError, match=f"^registry {REGISTRY} has sent nothing of model tiny for 45 s: "
    ) as caught:
        _make(tmp_path, script)
    assert caught.value.exit_code == os.EX_UNAVAILABLE


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("pull model manifest: 412: too old", os.EX_DATAERR, f"registry {REGISTRY} refuses model tiny"),
        (
            "pull model manifest: 429: slow",
            os.EX_UNAVAILABLE,
            f"model tiny cannot be had from registry {REGISTRY} now",
        ),
        (
            "no space left on device",
            os.EX_UNAVAILABLE,
            f"model tiny cannot be had from registry {REGISTRY} now",
        ),
    ],
)
def test_an_error_under_http_200_is_an_error(tmp_path: Path, text: str, code: int, sentence: str) -> None:
    """The server's words are quoted; the code says whether a later try may do."""
    with pytest.raises(CommandError) as caught:
        _make(tmp_path, (MANIFEST, {"error": text}))
    assert (caught.value.exit_code, str(caught.value)) == (code, f"{sentence}: {text}")


def test_an_end_without_success_is_no_success(tmp_path: Path) -> None:
    """HTTP 200 and plausible lines prove nothing."""
    with pytest.raises(
        CommandError, match=r"ended with 'verifying sha256 digest' instead of success$"
    ) as caught:
        _make(tmp_path, (MANIFEST, VERIFYING))
    assert caught.value.exit_code == os.EX_UNAVAILABLE


@pytest.mark.parametrize(
    ("last", "code", "reason"),
    [
        *(
            pytest.param({"error": text}, code, text, id=text)
            for code, texts in {
                os.EX_DATAERR: ("template error: x", "unsupported architecture X"),
                # What the operating system says to Go of a disk, EFS or memory that has its troubles.
                os.EX_UNAVAILABLE: (
                    "write x: no space left on device",
                    "write x: disk quota exceeded",
                    "read x: input/output error",
                    "open x: stale file handle",
                    "open x: stale NFS file handle",
                    "open x: no locks available",
                    "open x: too many open files in system",
                    "fork/exec x: cannot allocate memory",
                ),
            }.items()
            for text in texts
        ),
        pytest.param(
            {"status": "writing manifest"},
            os.EX_UNAVAILABLE,
            "its answer ended with 'writing manifest' instead of success",
            id="an end without success",
        ),
    ],
)
def test_a_build_fails_for_good_unless_the_machine_is_at_fault(
    tmp_path: Path, last: Mapping[str, object], code: int, reason: str
) -> None:
    """Building the same again gives the same, but another pod, or a while, heals what is no fault of it."""
    gguf = tmp_path / "model.gguf"
    gguf.touch()
    with pytest.raises(CommandError) as caught:
        _make(tmp_path, (last,), modelfile=f"FROM {gguf}")
    assert (caught.value.exit_code, str(caught.value)) == (code, f"Ollama cannot build the model: {reason}")
