"""The command under test, run as pods run it, and how its outcome is read."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from runtime.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

MANIFESTS = "manifests/registry.ollama.ai/library"
"""Where a model directory keeps the manifests of models without a host in their name."""


class Command:
    """A store, and an environment that holds what the image holds and nothing of this process."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "models"
        self.program = folder / "bin" / "ollama"
        self.program.parent.mkdir()
        self.program.write_text(f'#!/bin/sh\necho $$ > "{folder}/pid"\nexec "{binary}" "$@"\n')
        self.program.chmod(0o755)
        self.environment = {
            "PATH": f"{self.program.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def spec(self, **source: str) -> ModelSpec:
        """A model of the store."""
        return ModelSpec(source=ModelSource.model_validate(source), store=str(self.store))

    def start(
        self,
        spec: ModelSpec,
        *,
        stall_seconds: float = 45,
        retry_seconds: tuple[float, ...] = (),
        pod: str | None = None,
        **environment: str,
    ) -> subprocess.Popen[str]:
        """Starts the command, in a process group of its own, with a free port for its server.

        It does not try again unless it is told to.
        """
        path = self.folder / f"{spec.hash}.json"
        path.write_text(spec.to_json())
        call = f"main(stall_seconds={stall_seconds}, retry_seconds={retry_seconds}, pod={pod!r})"
        return self.launch("-c", f"from runtime.provision import main; {call}", str(path), **environment)

    def launch(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Starts Python with these arguments, as `start` does."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            host = f"127.0.0.1:{probe.getsockname()[1]}"
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environment | {"OLLAMA_HOST": host} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, spec: ModelSpec, **options: Any) -> tuple[int, list[dict[str, Any]]]:  # noqa: ANN401  of start
        """Runs the command to its end: its exit code, and its output, all of which is JSON lines."""
        return finish(self.start(spec, **options))

    def collect(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Collects in the store."""
        return finish(self.launch("-m", "runtime.provision", "--collect", str(self.store), *arguments))

    def server(self) -> int:
        """The process id of the server that was started last."""
        return int((self.folder / "pid").read_text())

    def staged(self) -> set[Path]:
        """The staging directories of all pods."""
        staging = self.store / ".staging"
        return {*staging.iterdir()} if staging.exists() else set()


def finish(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]]]:
    """Waits for the process: its exit code and its lines."""
    with process:
        output, _ = process.communicate(timeout=120)
    return process.returncode, [json.loads(line) for line in output.splitlines()]


def refused(outcome: tuple[int, list[dict[str, Any]]]) -> tuple[int, str]:
    """The exit code and the one sentence of a run that failed as an expected failure does."""
    code, lines = outcome
    assert [line["level"] for line in lines] == ["info"] * (len(lines) - 1) + ["error"]
    assert lines[-1]["exit_code"] == code
    return code, lines[-1]["event"]


def tree(folder: Path) -> dict[str, str]:
    """Every file below the folder, with the digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def layers(manifest: Path) -> list[tuple[str, str, int]]:
    """What a manifest names: kind, digest and size, the configuration last."""
    content = json.loads(manifest.read_bytes())
    named = (*content["layers"], content["config"])
    return [(layer["mediaType"], layer["digest"], layer["size"]) for layer in named]
