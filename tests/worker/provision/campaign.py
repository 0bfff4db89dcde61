"""Kills at random moments, rivals and damage: how often, and whether the store was right each time."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import MARKER
from tests.worker.provision.command import Command, finish, tree

if TYPE_CHECKING:
    import subprocess

    from runtime.spec import ModelSpec
    from tests.worker.registry import Registry

EVENTS = ("provisioning", "progress", "verifying")
KILLS_OF_A_MODEL = 5


class Campaign:
    """Models that are provisioned under kills into one store, until each is there.

    Attributes:
        tally: how often what happened.
        problems: what should never be: a wrong published directory, an end without a sentence, a rerun that
            does not finish, rubbish that stays.
    """

    def __init__(self, command: Command, registry: Registry, seed: int) -> None:
        self.command = command
        self.registry = registry
        self.random = random.Random(seed)  # noqa: S311  nothing secret
        self.tally = Counter[str]()
        self.problems: list[str] = []
        self._models = 0
        self._seconds = 0.0

    def run(self, kills: int) -> None:
        """Kills so many times, a few for each model."""
        # What an undisturbed run takes, so that kills fall into every step of it.
        began = time.monotonic()
        self._finish(self._spec())
        self._seconds = time.monotonic() - began
        while kills > 0:
            spec = self._spec()
            for _ in range(min(kills, self.random.randint(1, KILLS_OF_A_MODEL))):
                if Path(spec.directory, MARKER).exists():
                    break  # killed too late, or by a rival's side: what follows would be a hit
                self._disturb()
                kills -= self._kill(spec)
                self._check()
            self._finish(spec)
        self._collect()

    def _spec(self) -> ModelSpec:
        """The next model: pulled, another on the same base, or built on it, never the same twice."""
        self._models += 1
        kind = self.random.choice(("pulled", "built on it", "built of a file"))
        self.tally[f"models {kind}"] += 1
        if kind == "pulled":
            name = self.random.choice(("tiny", "full"))
            # Each under a tag of its own, so that each is another model.
            path = self.registry.manifest_path("library", name, f"t{self._models}")
            path.write_bytes(self.registry.manifest_path("library", name, "latest").read_bytes())
            return self.command.spec(**{"from": self.registry.name(f"{name}:{path.name}")})
        base = self.registry.name() if kind == "built on it" else str(self.command.folder / "tiny.gguf")
        return self.command.spec(modelfile=f"FROM {base}\nSYSTEM {self._models}\n")

    def _disturb(self) -> None:
        """Something else that may go wrong at the same time."""
        self.registry.bytes_per_second = self.registry.cut_after = None
        match self.random.randrange(5):
            case 0:
                self.registry.bytes_per_second = 400_000
                self.tally["registry slow"] += 1
            case 1:
                self.registry.cut_after, self.registry.cuts = self.random.randrange(1, 200_000), 1
                self.tally["registry cuts off"] += 1
            case 2:
                self._damage()
            case _:
                pass

    def _damage(self) -> None:
        """Changes one byte of a blob in the pool that no model shares, or of a dead run's download."""
        blobs = [*self.command.store.glob(".blobs/*"), *self.command.store.glob(".staging/*/model/blobs/*")]
        blobs = [path for path in blobs if path.stat().st_nlink == 1 and "partial-" not in path.name]
        if blobs:
            path = self.random.choice(blobs)
            content = bytearray(path.read_bytes())
            content[self.random.randrange(len(content))] ^= 1
            path.write_bytes(content)
            self.tally["a byte damaged"] += 1

    def _kill(self, spec: ModelSpec) -> bool:
        """Starts one run, or two at once, and kills at a random moment what a random choice says.

        Returns:
            Whether there was anything left to kill.
        """
        processes = [self.command.start(spec, pod="a", retry_seconds=(0.1,))]
        if self.random.random() < 0.2:
            processes.append(self.command.start(spec, pod="b", retry_seconds=(0.1,)))
            self.tally["two runs at once"] += 1
        process = processes[0]
        lines: list[str] = []
        seen = {event: threading.Event() for event in EVENTS}
        reading = threading.Thread(target=_read, args=(process, lines, seen))
        reading.start()
        if self.random.random() < 0.5:
            seen[self.random.choice(EVENTS)].wait(60)
            time.sleep(self.random.uniform(0, 0.1))
        else:
            time.sleep(self.random.uniform(0, 0.9 * self._seconds))
        what = self.random.choice(
            ("all of it", "all of it", "the parent alone", "the server alone", "SIGTERM")
        )
        ended = process.poll() is not None
        if ended:
            # The first run was on a busy machine: what never kills in time would go on for ever.
            self._seconds *= 0.9
        self.tally["killed too late" if ended else f"killed: {what}"] += 1
        match what:
            case "all of it":
                _signal(os.killpg, process.pid, signal.SIGKILL)
            case "the parent alone":
                process.kill()
            case "the server alone":
                _signal(os.kill, self._server(), signal.SIGKILL)
            case _:
                process.terminate()
        reading.join()
        codes = [process.wait(60)]
        _signal(os.killpg, process.pid, signal.SIGKILL)
        codes += [finish(other)[0] for other in processes[1:]]
        if what == "the server alone" and codes[0] not in {0, os.EX_UNAVAILABLE}:
            self.problems.append(f"{spec.hash[:8]}: exit code {codes[0]} without its server: {lines[-1:]}")
        # Of two servers, the one that was started last is killed, whoever's it is.
        if codes[1:] and codes[1] and (what, codes[1]) != ("the server alone", os.EX_UNAVAILABLE):
            self.problems.append(f"{spec.hash[:8]}: the rival ended with {codes[1]}")
        return not ended

    def _server(self) -> int:
        try:
            return self.command.server()
        except (FileNotFoundError, ValueError):
            return 0  # there is none yet

    def _finish(self, spec: ModelSpec) -> None:
        """A rerun that nobody disturbs has to finish."""
        self.registry.bytes_per_second = self.registry.cut_after = None
        code, lines = self.command.run(spec, pod="c")
        self.tally["reruns that finished"] += code == 0
        if code or not Path(spec.directory, MARKER).exists():
            self.problems.append(f"{spec.hash[:8]}: the rerun ended with {code}: {lines[-1:]}")
        self._check()

    def _check(self) -> None:
        """Every directory that looks published is whole, and nothing but what its manifest names."""
        for directory in self.command.store.iterdir() if self.command.store.exists() else ():
            if not directory.name.startswith("."):
                self.tally["published directories checked"] += 1
                self.problems.extend([f"{directory.name[:8]}: {wrong}" for wrong in wrongs(directory)])

    def _collect(self) -> None:
        """Afterwards the dead are removed, and no blob is left of them."""
        code, _ = self.command.collect("--no-roots", "--days", "1000")
        left = [*self.command.store.glob(".staging/*")]
        alone = [path for path in self.command.store.glob(".blobs/*") if path.stat().st_nlink == 1]
        # Downloads stay for a day, for their model's next Job: here every model is there.
        if code or left or alone:
            self.problems.append(f"collecting ended with {code} and left {left} and {alone}")


def wrongs(directory: Path) -> list[str]:
    """What is wrong with a published directory."""
    files = tree(directory)
    if MARKER not in files:
        return [f"no {MARKER}"]
    marker: dict[str, Any] = json.loads((directory / MARKER).read_text())
    paths = [path for path in files if path.startswith("manifests/")]
    if len(paths) != 1:
        return [f"manifests {paths}"]
    content = (directory / paths[0]).read_bytes()
    manifest = json.loads(content)
    named = {layer["digest"] for layer in (*manifest["layers"], manifest["config"])}
    expected = {f"blobs/{digest.replace(':', '-')}": digest[7:] for digest in named}
    found = {path: digest for path, digest in files.items() if path not in {MARKER, paths[0]}}
    wrong = [] if found == expected else [f"blobs {found} where {expected} belong"]
    if marker["digest"] != f"sha256:{hashlib.sha256(content).hexdigest()}":
        wrong.append("its marker has another digest than its manifest")
    return wrong


def _read(process: subprocess.Popen[str], lines: list[str], seen: dict[str, threading.Event]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.append(line)
            for name, event in seen.items():
                if f'"{name}"' in line:
                    event.set()
    for event in seen.values():
        event.set()


def _signal(kill: Any, process: int, number: int) -> None:  # noqa: ANN401  os.kill or os.killpg
    try:
        if process:
            kill(process, number)
    except ProcessLookupError:
        pass
