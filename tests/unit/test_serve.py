"""The server waits for its model, and becomes the server or says who is to blame."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime import serve
from runtime.command import MARKER, CommandError
from runtime.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable


class HeldClock:
    """A clock that moves only when it is slept on; `each_second` says what happens meanwhile."""

    def __init__(self, each_second: Callable[[float], None]) -> None:
        self.now = 0.0
        self._each_second = each_second

    def monotonic(self) -> float:
        """The seconds slept so far."""
        return self.now

    def sleep(self, seconds: float, /) -> None:
        """Moves on at once."""
        self.now += seconds
        self._each_second(self.now)


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """A model whose store is a temporary directory."""
    return ModelSpec(
        source=ModelSource.model_validate({"from": "tiny"}), store=str(tmp_path), wait_seconds=900
    )


@pytest.fixture
def command(spec: ModelSpec, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """The command line, and an environment whose `ollama` says how it was called."""
    path = tmp_path / "spec.json"
    path.write_text(spec.to_json())
    ollama = tmp_path / "bin" / "ollama"
    ollama.parent.mkdir()
    ollama.write_text('#!/bin/sh\necho "$$ $0 $*"\nenv\n')
    ollama.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{ollama.parent}:{os.environ['PATH']}",
        "OLLAMA_MODELS": "/as/given",
    }
    return [sys.executable, "-m", "runtime.serve", str(path)], environment


def _publish(spec: ModelSpec) -> None:
    blobs = Path(spec.directory, "blobs")
    blobs.mkdir(parents=True)
    (blobs / "sha256-a").write_bytes(b"0123456789")
    Path(spec.directory, MARKER).write_text("{}")


@pytest.mark.parametrize("named", [True, False])
def test_a_published_model_is_served_by_the_same_process_in_the_same_environment(
    spec: ModelSpec, command: tuple[list[str], dict[str, str]], *, named: bool
) -> None:
    """The process becomes `ollama serve`: same process id, and the whole environment as it was.

    So it does where `OLLAMA_MODELS` names the model's directory, and where only the spec does. Beside it, the
    model's files are read.
    """
    _publish(spec)
    models = {"OLLAMA_MODELS": str(spec.directory)} if named else {}
    environment = {**command[1], **models}
    with subprocess.Popen(command[0], env=environment, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=60)
    read = [line for line in output.splitlines() if line.startswith("{")]
    called, *seen = [line for line in output.splitlines() if not line.startswith("{")]
    assert called.split() == [str(process.pid), environment["PATH"].partition(":")[0] + "/ollama", "serve"]
    assert {f"{name}={value}" for name, value in environment.items()} <= {*seen}
    assert process.returncode == 0
    # None where the server ended first, as this one does: the reader goes with it.
    assert [json.loads(line)["bytes"] for line in read] in ([10], [])


def test_a_model_that_is_there_costs_no_imports() -> None:
    """What takes longer to import than a server takes to start is imported only to wait, or to complain."""
    code = "import sys, runtime.serve; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"pydantic", "structlog", "argparse", "json", "ctypes", "runtime.command", "concurrent.futures"}
    assert {*done.stdout.split()} & slow == set()
    assert serve.MARKER == MARKER


def test_a_model_that_cannot_be_read_ahead_is_served(
    spec: ModelSpec, command: tuple[list[str], dict[str, str]]
) -> None:
    """Even without its files: what is wrong with them is the server's to say."""
    Path(spec.directory).mkdir()
    Path(spec.directory, MARKER).write_text("{}")
    done = subprocess.run(command[0], env=command[1], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert " serve\n" in done.stdout


def test_the_wait_ends_when_the_model_appears(spec: ModelSpec) -> None:
    """The directory is looked for every second, and found at the second at which it is published."""
    clock = HeldClock(lambda now: _publish(spec) if now == 42 else None)
    serve.wait(Path(spec.directory), spec.wait_seconds, clock)
    assert clock.now == 42


def test_an_unpublished_directory_does_not_count(spec: ModelSpec) -> None:
    """A directory without the marker is no model."""
    Path(spec.directory).mkdir()
    clock = HeldClock(lambda _now: None)
    with pytest.raises(CommandError):
        serve.wait(Path(spec.directory), spec.wait_seconds, clock)
    assert clock.now == 900


def test_the_end_of_the_wait_has_its_own_code_and_says_where_to_look(
    spec: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence names the model and the Job; one line, at the start, says that there is a wait."""
    with pytest.raises(CommandError) as caught:
        serve.wait(Path(spec.directory), spec.wait_seconds, HeldClock(lambda _now: None))
    assert caught.value.exit_code == os.EX_TEMPFAIL
    assert str(caught.value) == (
        f"the model's Job has not published {spec.hash} within 900 s: find it with "
        f"`kubectl get jobs --all-namespaces | grep {spec.hash[:12]}` and read its `kubectl logs`"
    )
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_the_command_ends_with_one_log_line_and_no_traceback(
    spec: ModelSpec, command: tuple[list[str], dict[str, str]]
) -> None:
    """The failed wait is a line of level error and the exit code 75."""
    Path(command[0][-1]).write_text(spec.model_copy(update={"wait_seconds": 1}).to_json())
    done = subprocess.run(command[0], env=command[1], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (os.EX_TEMPFAIL, "")
    waiting, error = (json.loads(line) for line in done.stdout.splitlines())
    assert (waiting["event"], waiting["level"]) == ("waiting for the model", "info")
    assert (error["level"], error["exit_code"]) == ("error", os.EX_TEMPFAIL)


def test_sigterm_ends_the_wait_at_once(command: tuple[list[str], dict[str, str]]) -> None:
    """A pod that is deleted while it waits does not use up its grace time."""
    with subprocess.Popen(command[0], env=command[1], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (None, os.EX_NOINPUT, "cannot be read: No such file or directory"),
        ("{}", os.EX_DATAERR, "is no model spec: source: Field required"),
        (
            '{"source": {}, "store": 1}',
            os.EX_DATAERR,
            "is no model spec: source: Value error, give exactly one",
        ),
    ],
)
def test_a_bad_spec_is_one_sentence(
    command: tuple[list[str], dict[str, str]], content: str | None, code: int, says: str
) -> None:
    """The file is named, with all that is wrong in it."""
    path = Path(command[0][-1])
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    done = subprocess.run(command[0], env=command[1], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, "")
    (line,) = done.stdout.splitlines()
    assert str(path) in json.loads(line)["event"]
    assert says in json.loads(line)["event"]


def test_a_missing_server_program_is_one_sentence(
    spec: ModelSpec, command: tuple[list[str], dict[str, str]]
) -> None:
    """Outside the image there may be no server: that is said, not traced."""
    _publish(spec)
    environment = {**command[1], "PATH": "/nowhere"}
    done = subprocess.run(
        command[0], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (os.EX_UNAVAILABLE, "")
    # The reader ahead may be in the middle of a line of its own.
    sentence = f"no program `ollama` on PATH: use the image, or put Ollama {spec.server_version} on PATH"
    assert sentence in done.stdout
