"""Reading ahead: every byte of a model, within the memory there is, beside a server that does not care."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime import preread

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A published directory with blobs of 20 MiB and a bit, of 1 MiB, of one byte and of none."""
    blobs = tmp_path / "model" / "blobs"
    blobs.mkdir(parents=True)
    for name, size in {"sha256-c": MIB, "sha256-a": 1, "sha256-b": 20 * MIB + 7, "sha256-d": 0}.items():
        (blobs / name).write_bytes(os.urandom(size))
    return tmp_path / "model"


def _line(text: str) -> dict[str, object]:
    """The one line of log, but for its time."""
    (line,) = text.splitlines()
    return {key: value for key, value in json.loads(line).items() if key != "timestamp"}


def test_the_largest_file_comes_first(model: Path) -> None:
    """The weights are what the server waits for."""
    assert [(path.name, size) for path, size in preread.model_files(model)] == [
        ("sha256-b", 20 * MIB + 7),
        ("sha256-c", MIB),
        ("sha256-a", 1),
        ("sha256-d", 0),
    ]


@pytest.mark.parametrize("block", [8 * MIB, 100_000])
def test_every_byte_is_read(model: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Fewer blocks than readers, or many more: nothing is left out, and nothing is read twice."""
    monkeypatch.setattr(preread, "BLOCK_BYTES", block)
    assert preread.read(preread.model_files(model)) == 21 * MIB + 8


def test_what_was_read_is_said(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of log: bytes, seconds, rate."""
    preread.report(model)
    line = _line(capsys.readouterr().out)
    seconds, rate = line.pop("seconds"), line.pop("bytes_per_second")
    assert line == {"event": "model read ahead", "level": "info", "bytes": 21 * MIB + 8}
    assert isinstance(seconds, float)
    assert isinstance(rate, int)
    assert rate > 0


@pytest.mark.parametrize("fits", [True, False])
def test_a_model_is_read_only_where_it_fits(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, fits: bool
) -> None:
    """The bound is 0.7 of the limit: one byte less of a limit, and the model is left alone."""
    size = 21 * MIB + 8
    limit = -(-size * 10 // 7) - (not fits)
    monkeypatch.setattr(preread, "memory_limit", lambda: limit)
    preread.report(model)
    line = _line(capsys.readouterr().out)
    if fits:
        assert line["event"] == "model read ahead"
    else:
        assert line == {
            "event": "the model is not read ahead: too large",
            "level": "warning",
            "bytes": size,
            "memory_limit": limit,
        }


def test_a_directory_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the server will complain of is no more than a note here."""
    preread.report(tmp_path)
    assert _line(capsys.readouterr().out) == {
        "event": "the model is not read ahead",
        "level": "error",
        "problem": f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path / 'blobs'}'",
    }


def test_no_process_to_be_had_is_no_error(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the pod's process limit the server starts all the same."""

    def full() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    preread.start(model)
    assert _line(capsys.readouterr().out)["problem"] == "[Errno 11] Resource temporarily unavailable"


ALL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        pytest.param("0::/\n", {"memory.max": "1000\n"}, 1000, id="version 2, the container's own"),
        pytest.param("0::/\n", {"memory.max": "max\n"}, ALL, id="no limit"),
        pytest.param("0::/\n", {}, ALL, id="the root, which has none"),
        pytest.param(
            "0::/a/b\n",
            {"a/memory.max": "900\n", "a/b/memory.max": "max\n", "memory.max": "2000\n"},
            900,
            id="the narrowest of the ancestors",
        ),
        pytest.param("0::/pod/c\n", {"memory.max": "1000\n"}, 1000, id="a name that is not mounted here"),
        pytest.param(
            "9:cpu,cpuacct:/\n4:memory:/docker/c\n0::/\n",
            {"memory/memory.limit_in_bytes": "1000\n"},
            1000,
            id="version 1 in a container",
        ),
        pytest.param(
            "4:memory:/a\n",
            {
                "memory/a/memory.limit_in_bytes": "800\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            800,
            id="version 1, and its number for no limit",
        ),
        pytest.param(
            "4:memory:/\n",
            {"memory/memory.limit_in_bytes": "9223372036854771712\n"},
            ALL,
            id="version 1, none",
        ),
        pytest.param("7:name=memory:/x\n3:cpu:/\n", {"memory.max": "5"}, ALL, id="another hierarchy"),
    ],
)
def test_the_memory_limit(tmp_path: Path, membership: str, files: dict[str, str], limit: int) -> None:
    """The narrowest limit of the process's cgroups, else all memory of the machine."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(membership)
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert preread.memory_limit(tmp_path / "proc", tmp_path / "cgroup") == limit


HUNG = """
import os, sys
from pathlib import Path
from runtime import preread
preread.report = lambda directory: os.write(1, b"%d\\n" % os.getpid()) and __import__("time").sleep(600)
preread.start(Path("."))
os.execvp("sleep", ["sleep", "600"])
"""


def test_the_reader_ends_with_the_server() -> None:
    """Also by SIGKILL, and also after the exec that makes the server of the process that forked."""
    with subprocess.Popen([sys.executable, "-c", HUNG], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        reader = int(server.stdout.readline())
        comm = Path(f"/proc/{server.pid}/comm")
        _until(lambda: comm.read_text() == "sleep\n")
        assert _alive(reader)
        server.kill()
        server.wait()
        try:
            _until(lambda: not _alive(reader))
        finally:
            with suppress(ProcessLookupError):
                os.kill(reader, signal.SIGKILL)


def test_a_bug_in_the_reader_is_shown_and_stays_there() -> None:
    """The child prints it and ends; nothing of it runs the caller's code a second time."""
    code = (
        "from pathlib import Path; from runtime import preread; import os\n"
        "preread.report = lambda directory: 1 / 0\n"
        "preread.start(Path('.')); os.wait(); print('the server')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "the server\n"
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def _alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
