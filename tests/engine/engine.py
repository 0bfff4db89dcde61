"""Stacks of the program on the real engine: the CLI as people run it, on a state and a cloud of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from cli.computed import COMPUTED
from cli.graph import PROJECT, ROOT
from tests.engine.cloud import Cloud, label
from tests.engine.doubles import Provider, serve
from tests.engine.eks_component import Eks
from tests.engine.kubernetes_double import Kubernetes
from tests.engine.program import language_host

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

STACK = "dev"
STACK_FILE = ROOT / f"Pulumi.{STACK}.yaml"
RUNS_PROGRAM = frozenset({"preview", "up"})
RUN_SECONDS = 120

PACKAGES = {token.partition(":")[0] for token in COMPUTED} - {"pulumi"}
DOUBLES = {"eks": Eks, "kubernetes": Kubernetes}
"""Of the packages whose provider is more than a keeper of things."""

_REPLACE = frozenset({"replace", "create-replacement", "delete-replaced"})
_NO_STEP = frozenset({"same", "read", "refresh"})


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the CLI.

    Attributes:
        code: its exit status.
        output: all that it printed.
        steps: for each resource that it touched, such as `Queue summarize`, how: create, update, replace
            or delete. Components are left out.
    """

    code: int
    output: str
    steps: dict[str, str]


class Stack:
    """A stack in a folder, and the cloud that its providers work on."""

    def __init__(self, cli: Path, folder: Path, cloud: Cloud) -> None:
        self.cli = cli
        self.folder = folder
        self.cloud = cloud
        self._servers = {
            package: serve(DOUBLES.get(package, Provider)(cloud, package)) for package in PACKAGES
        }

    @classmethod
    def new(cls, cli: Path, folder: Path) -> Stack:
        """A stack of `Pulumi.dev.yaml` that nothing was made of yet."""
        for name in ("project", "state", "home"):
            (folder / name).mkdir(parents=True)
        for file in (ROOT / "Pulumi.yaml", STACK_FILE):
            shutil.copy(file, folder / "project")
        stack = cls(cli, folder, Cloud())
        stack.run("stack", "init", STACK)
        return stack

    def copy(self, folder: Path) -> Stack:
        """A stack with the same state and the same things in its cloud, to be changed by one test."""
        shutil.copytree(self.folder, folder)
        return Stack(self.cli, folder, self.cloud.copy())

    def close(self) -> None:
        """End the providers."""
        for server, _ in self._servers.values():
            server.stop(None)

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Replace config values, keys without the project's prefix."""
        file = self.folder / "project" / STACK_FILE.name
        held = yaml.safe_load(file.read_text())
        held["config"] |= {f"{PROJECT}:{key}": value for key, value in changes.items()}
        file.write_text(yaml.safe_dump(held))

    @property
    def models(self) -> list[dict[str, Any]]:
        """The models as the stack file has them, to be changed and given to `configure`."""
        file = self.folder / "project" / STACK_FILE.name
        return yaml.safe_load(file.read_text())["config"][f"{PROJECT}:models"]

    @property
    def raw_state(self) -> str:
        """The state file, as whoever finds it reads it."""
        return (self.folder / "state" / ".pulumi" / "stacks" / PROJECT / f"{STACK}.json").read_text()

    @property
    def resources(self) -> list[dict[str, Any]]:
        """What the state says of each resource."""
        return json.loads(self.raw_state)["checkpoint"]["latest"].get("resources", [])

    def up(self, *flags: str) -> Run:
        """`pulumi up` without its preview, which shows what `preview` shows."""
        return self.run("up", "--yes", "--skip-preview", *flags)

    def run(self, *command: str, fails: bool = False) -> Run:
        """Run the CLI to its end.

        Raises:
            AssertionError: it failed, or did not where it `fails`; with all that it printed.
        """
        with self.running(*command) as process:
            output, _ = process.communicate(timeout=RUN_SECONDS)
        assert (process.returncode != 0) == fails, output
        return Run(process.returncode, output, self._steps())

    @contextmanager
    def running(self, *command: str) -> Generator[subprocess.Popen[str]]:
        """The CLI while it runs, to be waited for or killed."""
        self._events.unlink(missing_ok=True)
        with (
            self._program(command[0]) as flags,
            subprocess.Popen(
                [str(self.cli), *command, "--non-interactive", *flags],
                cwd=self.folder / "project",
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def _program(self, verb: str) -> Generator[list[str]]:
        """The flags by which a verb finds the program, and where it logs what it does."""
        if verb not in {*RUNS_PROGRAM, "destroy", "refresh"}:
            yield []
        elif verb not in RUNS_PROGRAM:
            yield ["--event-log", str(self._events)]
        else:
            with language_host() as address:
                yield ["--event-log", str(self._events), "--client", address]

    @property
    def _events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def _environment(self) -> dict[str, str]:
        ports = ",".join(f"{name}:{port}" for name, (_, port) in self._servers.items())
        return {
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}",
            "PULUMI_STACK": STACK,
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "not a secret",
            # Without it there is no --event-log.
            "PULUMI_DEBUG_COMMANDS": "true",
            "PULUMI_DEBUG_PROVIDERS": ports,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def _steps(self) -> dict[str, str]:
        """How the last run touched each resource that a provider makes."""
        if not self._events.exists():
            return {}
        steps: dict[str, str] = {}
        for line in self._events.read_text().splitlines():
            step = json.loads(line).get("resourcePreEvent", {}).get("metadata")
            if step and step["op"] not in _NO_STEP and _of_the_program(step):
                steps[step["urn"]] = "replace" if step["op"] in _REPLACE else step["op"]
        labelled = {label(urn): op for urn, op in steps.items()}
        assert len(labelled) == len(steps), f"two of these have one label: {sorted(steps)}"
        return labelled


def _of_the_program(step: dict[str, Any]) -> bool:
    """Whether a provider makes it, and it is no provider that the engine started by itself."""
    default = step["type"].startswith("pulumi:providers:") and "::default" in step["urn"]
    return (step.get("new") or step["old"]).get("custom", False) and not default
