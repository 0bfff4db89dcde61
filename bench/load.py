"""From the start of a server to its first token, for a model that is not in memory, beside Ollama's defaults.

python -m bench.load [--runs 7] [--megabytes 1000]

- ours: `ollama-eks-serve`, which reads ahead, then what a worker asks of it first.
- ours, not read ahead: the same without that, to see what it brings.
- defaults: `ollama serve` with nothing set, then a request with nothing set.
- floor: the files' bytes, one after the other, in blocks of 8 MiB.

Before each, the model's files leave the page cache: fsync, then posix_fadvise(DONTNEED). That drops their
clean pages on this machine. It does not drop what a virtual disk's host or the disk itself keeps, nor the
file system's own structures, nor the pages of the programs: Ollama and Python are warm, in all alike. The
virtual disk here remembers how it was read last: whatever came right after several readers, the floor too,
took 2 s longer. So each is preceded by one reader that is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import mmap
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from bench import big_model
from cli import toolchain
from runtime import preread
from runtime.command import MARKER
from runtime.ollama.client import Ollama
from runtime.spec import ModelSource, ModelSpec, Options, TaskSpec, server_environment
from tests.worker import ollama_server

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

KINDS = ("ours", "ours, not read ahead", "defaults", "floor")


class Bench:
    """One published model, and the ways to start a server on it."""

    def __init__(self, folder: Path, size: int) -> None:
        binary = toolchain.pinned_ollama()
        self.outside = {"PATH": f"{binary.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
        gguf = folder / "big.gguf"
        big_model.write(gguf, size)
        source = ModelSource(modelfile=f"FROM {gguf}\n")
        self.model = ModelSpec(source=source, store=str(folder / "models"))
        self.spec = folder / "model.json"
        self.spec.write_text(self.model.to_json())
        directory = Path(self.model.directory)
        directory.mkdir(parents=True)
        with ollama_server.running(binary, directory) as url:
            ollama_server.create(url, self.model.reference, gguf)
        (directory / MARKER).touch()
        self.files = preread.model_files(directory)
        self.task = TaskSpec(
            name="bench",
            model=self.model,
            options=Options(num_ctx=2048),
            accepts=("text/plain",),
            **dict.fromkeys(("queue_url", "dead_letter_url", "documents_bucket", "results_bucket"), "-"),
        )
        self.log = folder / "server.log"

    def run(self, kind: str) -> tuple[float, float]:
        """Seconds that it took, and the share of the files that was in memory at its start."""
        self._floor()
        resident = sum(cached(path) for path, _ in self.files) / sum(size for _, size in self.files)
        began = time.perf_counter()
        if kind == "floor":
            self._floor()
            return time.perf_counter() - began, resident
        host = free_host()
        ours = server_environment(
            host=host, models=str(self.model.directory), parallel=1, context_tokens=2048
        )
        plain = {"OLLAMA_HOST": host, "OLLAMA_MODELS": str(self.model.directory)}
        if kind == "defaults":
            self._serve(["ollama", "serve"], plain, lambda: self._default_word(host))
        else:
            ahead = [sys.executable, "-m", "runtime.serve", str(self.spec)]
            self._serve(ahead if kind == "ours" else ["ollama", "serve"], ours, lambda: self._our_word(host))
        return self.ended - began, resident

    def _floor(self) -> None:
        for path, _ in self.files:
            drop(path)
            with path.open("rb", buffering=0) as file:
                while file.read(preread.BLOCK_BYTES):
                    pass
            drop(path)

    def _serve(
        self,
        command: Sequence[str],
        settings: Mapping[str, str],
        word: Callable[[], Coroutine[None, None, None]],
    ) -> None:
        """Runs the server until its first word."""
        with (
            self.log.open("ab") as log,
            subprocess.Popen(command, env={**self.outside, **settings}, stdout=log, stderr=log) as server,
        ):
            try:
                asyncio.run(word())
                self.ended = time.perf_counter()
            finally:
                server.terminate()

    async def _our_word(self, host: str) -> None:
        """As `runtime.worker.server` does it."""
        client = Ollama(host)
        await answers(host)
        await client.load(self.task)
        await client.capabilities(self.model.reference)
        await client.first_word(self.task)
        await client.close()

    async def _default_word(self, host: str) -> None:
        await answers(host)
        body = {"model": self.model.reference, "prompt": "1"}
        async with (
            httpx.AsyncClient(timeout=None, trust_env=False) as http,  # noqa: S113  a load takes its time
            http.stream("POST", f"http://{host}/api/generate", json=body) as response,
        ):
            response.raise_for_status()
            await anext(response.aiter_lines())


async def answers(host: str) -> None:
    """Returns as soon as the server answers at all."""
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                await http.get(f"http://{host}/api/version")
                return
            await asyncio.sleep(0.01)


def free_host() -> str:
    """A loopback address whose port is free."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return "{}:{}".format(*probe.getsockname())


def drop(path: Path) -> None:
    """Takes a file out of the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(path: Path) -> int:
    """Bytes of a file that are in the page cache (mincore(2))."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(mapped)
        ctypes.CDLL(None).mincore(ctypes.byref(first), ctypes.c_size_t(len(mapped)), pages)
        del first
    return mmap.PAGESIZE * sum(page & 1 for page in pages)


def main() -> None:
    """Prints every run, the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=1000)
    given = parser.parse_args()
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.megabytes * 10**6)
        print(f"a model of {sum(size for _, size in bench.files) / 1e6:.0f} MB, {given.runs} runs of each")
        for turn in range(given.runs):
            for kind in (*KINDS[turn % len(KINDS) :], *KINDS[: turn % len(KINDS)]):
                seconds, resident = bench.run(kind)
                taken[kind].append(seconds)
                print(f"  {kind:22} {seconds:6.2f} s  ({resident:.0%} in memory before)", flush=True)
    medians = {kind: statistics.median(seconds) for kind, seconds in taken.items()}
    for kind, seconds in taken.items():
        ratio = medians[kind] / medians["defaults"]
        print(
            f"{kind:22} median {medians[kind]:.2f} s, best {min(seconds):.2f} s, {ratio:.2f} of the defaults"
        )


if __name__ == "__main__":
    main()
