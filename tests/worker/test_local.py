"""`ollama-eks local` as a person runs it: the program's graph, moto, a real Ollama and the real worker."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from cli.graph import ROOT, evaluate
from cli.local import emulator, run
from cli.local.errors import LocalError
from runtime.spec import DocumentType
from tests.worker import registry
from tests.worker.rig import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    Local = Callable[..., subprocess.CompletedProcess[str]]

EXAMPLES = sorted(path for path in run.DOCUMENTS.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this session keep models and results."""
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="session")
def local(home: Path, ollama_binary: Path) -> Local:
    """Runs `ollama-eks local` with the pinned server to its end."""

    def start(*arguments: object, binary: Path = ollama_binary) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            _command(home, *arguments),
            env={**os.environ, "OLLAMA_BINARY": str(binary), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return start


@pytest.fixture(scope="session")
def examples(local: Local, home: Path) -> Path:
    """The folder of a first run, over the example documents."""
    done = local()
    assert done.returncode == 0, done.stdout + done.stderr
    return _latest(home)


def test_every_example_gets_a_result_and_a_record_with_the_servers_counts(examples: Path) -> None:
    """The examples cover all types but pictures; each ends as plain files, with tokens that were counted."""
    records = _records(examples)
    assert records.keys() == {path.relative_to(run.DOCUMENTS).as_posix() for path in EXAMPLES}
    seen = {record["document"]["type"] for record in records.values()}
    assert seen == set(get_args(DocumentType)) - {"image/png", "image/jpeg"}
    for name, record in records.items():
        size = (run.DOCUMENTS / name).stat().st_size
        if record["document"]["type"] not in {"text/html", "application/pdf"}:
            # One token a byte with this model, and the prompt and the template around the document.
            assert size < record["tokens"]["prompt"] < size + 60, name
        assert record["tokens"]["answer"] > 0
        assert (examples / "results" / "summarize" / f"{name}.txt").read_text().strip()


@pytest.mark.usefixtures("examples")
def test_a_second_run_builds_nothing_and_serving_changes_no_model(local: Local, home: Path) -> None:
    """The model directory is byte for byte, and time for time, what it was before it was served."""
    before = _fingerprint(home / "models")
    done = local()
    assert done.returncode == 0
    assert _fingerprint(home / "models") == before


def test_awkward_documents_end_as_designed(local: Local, home: Path, tmp_path: Path) -> None:
    """Odd names and a BOM are no obstacle; what cannot be answered says why, and the run ends with 1."""
    texts = {
        "my file+1.csv": b"a,b\n1,2\n",
        "ünï/ünï.txt": "über\n".encode(),
        "bom.txt": b"\xef\xbb\xbfwith a mark\n",
        "latin.txt": "Müll\n".encode("latin-1"),
        "empty.txt": b"",
        "long.txt": b"a word " * 400,
    }
    for name, content in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    done = local("--documents", tmp_path)
    assert done.returncode == 1
    records = _records(_latest(home))
    assert {name: record.get("failure", {}).get("reason") for name, record in records.items()} == {
        "my file+1.csv": None,
        "ünï/ünï.txt": None,
        "bom.txt": None,
        "latin.txt": None,
        "empty.txt": "empty",
        "long.txt": "too_long",
    }
    assert "num_ctx 2048" in records["long.txt"]["failure"]["detail"]
    assert "num_ctx 2048" in done.stdout


@pytest.mark.usefixtures("examples")
def test_a_model_by_name_is_pulled_and_asked(local: Local, home: Path) -> None:
    """`MODEL=` replaces the local model by one that a registry serves; it answers the same documents."""
    built = next((home / "models").glob("*/model.json")).parent
    with registry.running(built) as server:
        done = local("--model", server.name("built:latest"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gibberish" not in done.stdout
    models = {record["model"] for record in _records(_latest(home)).values()}
    assert models == {server.name("built:latest").removeprefix("http://")}


def test_an_unknown_model_is_one_sentence(local: Local, tmp_path: Path) -> None:
    """A name that its registry does not know ends the run, with the name in one clear sentence."""
    with registry.running(tmp_path) as server:
        done = local("--model", server.name("nothing:latest"))
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: the model is not ready:")
    assert "library/nothing" in sentence


def test_an_unreachable_registry_is_another_sentence(local: Local) -> None:
    """A registry that nobody answers for ends the run, with another sentence than an unknown model."""
    done = local("--model", "http://127.0.0.1:9/library/tiny:latest")
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert "cannot be had from registry 127.0.0.1:9 now" in sentence


def test_a_broken_config_is_told_all_at_once(local: Local, tmp_path: Path) -> None:
    """Every problem of a stack file is one line, and nothing is started."""
    stack = tmp_path / "Pulumi.broken.yaml"
    text = (ROOT / "Pulumi.local.yaml").read_text()
    stack.write_text(
        text.replace("gpuCount: 0", "gpuCount: 9")
        .replace("timeLimit: 2m", "timeLimit: 13h")
        .replace("image", "imag")
    )
    done = local("--stack", stack)
    assert done.returncode == 2
    problems = [line for line in done.stderr.splitlines() if line.startswith("  - ")]
    assert [problem.split(":")[0] for problem in problems] == [
        "  - gpuCount",
        "  - models[0].timeLimit",
        "  - imag",
    ]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_documents_is_told(local: Local, tmp_path: Path, name: str) -> None:
    """A folder that is not there, or that holds nothing, is named in one sentence."""
    (tmp_path / "empty").mkdir()
    done = local("--documents", tmp_path / name)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / name} ")


def test_a_server_that_does_not_come_up_is_told(local: Local, tmp_path: Path) -> None:
    """An Ollama that ends at once ends the run, and its last words are shown."""
    broken = tmp_path / "ollama"
    broken.write_text("#!/bin/sh\necho no such luck\nexit 3\n")
    broken.chmod(0o755)
    done = local("--home", tmp_path / "home", binary=broken)
    assert done.returncode == 2
    assert "no such luck" in done.stderr


def test_an_emulator_that_does_not_come_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moto that never gets ready ends the run with a sentence, not with a wait for ever."""
    monkeypatch.setattr(emulator.ThreadedMotoServer, "start", lambda _: signal.pause())
    monkeypatch.setattr(emulator, "START_SECONDS", 0.1)
    with pytest.raises(LocalError, match="did not come up within"):
        emulator.start(evaluate(ROOT / "Pulumi.local.yaml"))


def test_ctrl_c_leaves_no_process(home: Path, ollama_binary: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a run ends it in order, with everything that it started."""
    for number in range(300):
        (tmp_path / f"{number}.txt").write_text(f"document {number}")
    running = subprocess.Popen(
        _command(home, "--documents", tmp_path),
        env={**os.environ, "OLLAMA_BINARY": str(ollama_binary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # As at a terminal; a test run in the background has SIGINT ignored, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    eventually(lambda: _processes(home) >= {"server", "worker"}, 60)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, b"interrupted; nothing is left running\n")
    assert _processes(home) == set()


def _command(home: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "cli.main", "local", "--home", str(home), *map(str, arguments)]


def _latest(home: Path) -> Path:
    return max((home / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime)


def _records(run_folder: Path) -> dict[str, Any]:
    """The records of a run by document."""
    folder = run_folder / "records" / "summarize"
    return {
        path.relative_to(folder).as_posix().removesuffix(".json"): json.loads(path.read_text())
        for path in folder.rglob("*.json")
    }


def _fingerprint(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Hash, mode and time of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode,
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _processes(home: Path) -> set[str]:
    """Which of a run's processes are there, told by the folders in their environments."""
    found: set[str] = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            environment = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"HOME={home}/runs/" in environment:
            found.add("worker" if "worker-home" in environment else "server")
    return found
