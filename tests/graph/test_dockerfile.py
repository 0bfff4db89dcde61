"""The image, as far as it can be told without Docker: its Dockerfile, and the Python half, built as it says.

What only a build shows is that the upstream images have what is taken from them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement

from cli.graph import ROOT
from components import instances
from components.image_inputs import DOCKERFILE, build_args, build_files
from components.pods import HOME_DIR
from runtime.version import OLLAMA_VERSION
from tests.graph.dockerfile import read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.graph import Graph

TAG = re.compile(r":(\d+\.\d+)\.\d+(?:-|$)")
ENVIRONMENT = "/opt/ollama-eks"

NATIVE = {50, 52, 60, 61, 70, 75, 80, 86, 89, 90, 120}
"""Compute capabilities that the CUDA 12 runner has machine code for (Ollama 0.24.0, CMakePresets.json)."""

CAPABILITY = {"T4": 75, "A100": 80, "A10G": 86, "L4": 89, "L40S": 89, "H100": 90, "H200": 90}
"""Of each card (NVIDIA, "CUDA GPU Compute Capability")."""


ARGS, STAGES = read(ROOT / DOCKERFILE)
NAMED = {stage.name: stage for stage in STAGES}
FINAL = STAGES[-1]


def _containers(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401  whatever JSON holds
    """Every container and pod of a resource's inputs."""
    if isinstance(value, dict):
        if "image" in value or "containers" in value:
            yield value
        for each in value.values():
            yield from _containers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _containers(each)


def _in_graph(graph: Graph) -> list[dict[str, Any]]:
    kinds = ("kubernetes:apps/v1:", "kubernetes:batch/v1:")
    return [
        found
        for each in graph.resources.values()
        if each.type.startswith(kinds)
        for found in _containers(each.inputs)
    ]


def test_it_stands_on_the_pinned_images_and_no_other() -> None:
    """Built by hand or by the program, it starts from the same two."""
    assert build_args({}) == ARGS
    assert ARGS["OLLAMA_IMAGE"] == f"docker.io/ollama/ollama:{OLLAMA_VERSION}"
    known = [f"${{{name}}}" for name in ARGS]
    for stage in STAGES:
        assert stage.base in known
        known.append(stage.name)


def test_its_python_is_the_oldest_that_the_project_takes() -> None:
    """The tests run on that one, so nothing newer is relied on in silence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = TAG.search(ARGS["PYTHON_IMAGE"])
    assert found
    assert project["requires-python"] == f">={found[1]}"


def test_whatever_is_set_aside_is_copied() -> None:
    """No directory is filled for nothing, and each COPY is from the checkout or a stage before."""
    aside = {word for said in NAMED["ollama"].all("RUN") for word in said.split() if word.endswith("/")}
    assert aside == {"/cpu/", "/cublas/"}
    assert aside <= {source for origin, source, _ in FINAL.copies() if origin == "ollama"}
    for number, stage in enumerate(STAGES):
        assert {origin for origin, _, _ in stage.copies()} <= {"", *(each.name for each in STAGES[:number])}
    assert [source for stage in STAGES for origin, source, _ in stage.copies() if not origin] == ["."]


def test_every_card_finds_its_machine_code() -> None:
    """A card without would compile the runner's PTX in every fresh pod, before its first answer."""
    cards = {each.gpu for each in instances.INSTANCES.values() if each.gpu}
    assert cards == CAPABILITY.keys()
    assert set(CAPABILITY.values()) <= NATIVE
    assert "/usr/lib/ollama/cuda_v12/" in {source for _, source, _ in FINAL.copies()}


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_its_user_is_the_pods_own(stack: str, request: pytest.FixtureRequest) -> None:
    """Files and home of the image are of the uid that the pods run as."""
    pods = [each for each in _in_graph(request.getfixturevalue(stack)) if "containers" in each]
    contexts = [each["securityContext"] for each in pods]
    (user,) = {f"{each['runAsUser']:.0f}:{each['fsGroup']:.0f}" for each in contexts}
    assert FINAL.all("USER") == [user]
    (made,) = FINAL.all("RUN")
    uid, gid = user.split(":")
    assert made.split(" && ") == [
        f"groupadd --gid {gid} ollama",
        f"useradd --uid {uid} --gid {gid} --create-home --home-dir {HOME_DIR} ollama",
    ]


def test_no_container_gets_a_gpu_by_its_image() -> None:
    """The variable that asks for all of them is the device plugin's to set."""
    assert "NVIDIA_VISIBLE_DEVICES" not in FINAL.environment()
    assert FINAL.environment()["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_docker_sees_the_pods_half_and_how_it_is_installed() -> None:
    """Tests, documents and the program are no part of it: editing them builds no new image."""
    first, *others = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert first == "*"
    for line in others:
        assert line.startswith("!")
        assert list(ROOT.glob(line[1:])), f"{line} lets nothing in"
    assert {path.relative_to(ROOT).as_posix() for path in build_files(ROOT)} == {
        "LICENSE",
        "pyproject.toml",
        "runtime/Dockerfile",
        "tools/uv",
        "uv.lock",
        *(path.relative_to(ROOT).as_posix() for path in (ROOT / "runtime").rglob("*.py")),
    }


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's Python environment, made by its stage's own commands of what Docker would see."""
    folder = tmp_path_factory.mktemp("image")
    source, environment = folder / "source", folder / "environment"
    for path in build_files(ROOT):
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)

    def here(text: str) -> str:
        return text.replace(ENVIRONMENT, str(environment))

    stage = NAMED["runtime"]
    (command,) = stage.all("RUN")
    subprocess.run(
        ["sh", "-euc", here(re.sub(r"--mount=\S+ ", "", command))],
        cwd=source,
        env={
            **os.environ,
            **{name: here(value) for name, value in stage.environment().items()},
            # The interpreter that the environment is made of.
            "PATH": f"{environment}/bin:{os.environ['PATH']}",
        },
        check=True,
    )
    return environment


def _commands(graph: Graph) -> set[str]:
    """What the pods start: their containers, and the probes of these."""
    found: set[str] = set()
    for container in _in_graph(graph):
        probes = [value for key, value in container.items() if key.endswith("Probe")]
        for command in (container.get("command"), *(each.get("exec", {}).get("command") for each in probes)):
            if command:
                found.add(command[0])
    return found


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_the_pods_find_their_commands(stack: str, environment: Path, request: pytest.FixtureRequest) -> None:
    """Those of the project are in the environment, and no others are; Ollama's is where upstream has it."""
    commands = _commands(request.getfixturevalue(stack))
    assert commands == {"ollama", "ollama-eks-provision", "ollama-eks-serve", "ollama-eks-work"}
    assert {path.name for path in (environment / "bin").glob("ollama*")} == commands - {"ollama"}
    assert FINAL.environment()["PATH"] == f"{ENVIRONMENT}/bin:${{PATH}}"
    assert ("runtime", f"{ENVIRONMENT}/", f"{ENVIRONMENT}/") in FINAL.copies()
    assert ("ollama", "/usr/bin/ollama", "/usr/bin/ollama") in FINAL.copies()


@pytest.mark.parametrize("command", ["ollama-eks-provision", "ollama-eks-serve", "ollama-eks-work"])
def test_each_command_starts(environment: Path, command: str) -> None:
    """All that it imports is there."""
    done = subprocess.run(
        [environment / "bin" / command, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "SPEC_JSON_PATH" in done.stdout


def test_the_runtime_group_alone_is_installed(environment: Path) -> None:
    """As the lock file has it: nothing of the program, of the laptop or of the tests."""
    exported = subprocess.run(
        [
            *(ROOT / "tools" / "uv", "export", "--quiet", "--frozen", "--no-hashes", "--no-annotate"),
            *("--no-header", "--no-emit-project", "--no-default-groups", "--group", "runtime"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = [Requirement(line) for line in exported.stdout.splitlines()]
    expected = {
        f"{each.name}{each.specifier}" for each in wanted if each.marker is None or each.marker.evaluate()
    }
    listed = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    told = subprocess.check_output([environment / "bin" / "python", "-c", listed], text=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {re.sub(r"[-_.]+", "-", each).lower() for each in told.split()}
    expected.add(f"{project['name']}=={project['version']}")
    assert found == {re.sub(r"[-_.]+", "-", each).lower() for each in expected}


def test_it_holds_the_runtime_and_nothing_else_of_the_project(environment: Path) -> None:
    """Neither the program nor the laptop's tools, though one project describes them all."""
    told = (environment / "bin" / "python", "-c", "import runtime, sys; print(runtime.__path__[0])")
    (packages,) = environment.glob("lib/python3*/site-packages")
    assert subprocess.check_output(told, text=True, cwd=environment).strip() == str(packages / "runtime")
    for name in ("components", "cli", "tests"):
        assert not (packages / name).exists()


def test_all_of_it_has_bytecode(environment: Path) -> None:
    """A pod's root is read-only: what is not compiled in the image is compiled at every start."""
    without = [
        path
        for path in environment.rglob("*.py")
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
    ]
    # What uv puts beside the interpreter is no module.
    assert {path.parent for path in without} <= {environment / "bin"}
    (said,) = NAMED["python"].all("RUN")
    assert said.endswith(" /usr/local/lib/python3*")
    assert FINAL.base == NAMED["runtime"].base == "python"
