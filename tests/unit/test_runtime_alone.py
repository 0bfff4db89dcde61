"""The pods' half, installed as it is into the image: without pulumi, the program or the laptop's tools."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from cli.graph import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that has the dependency group `runtime` alone."""
    venv = tmp_path_factory.mktemp("runtime") / "venv"
    subprocess.run(
        [ROOT / "tools" / "uv", "sync", "--quiet", "--frozen", "--no-default-groups", "--group", "runtime"],
        cwd=ROOT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(venv)},
        check=True,
    )
    return venv / "bin"


@pytest.mark.parametrize("command", ["ollama-eks-provision", "ollama-eks-serve", "ollama-eks-work"])
def test_each_command_of_the_pods_starts_alone(bin_folder: Path, command: str) -> None:
    """All that a pod's command imports comes with the runtime's own dependency group."""
    done = subprocess.run([bin_folder / command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SPEC_JSON_PATH" in done.stdout


@pytest.mark.parametrize("package", ["pulumi", "typer", "moto", "numpy"])
def test_nothing_of_the_other_halves_is_installed(bin_folder: Path, package: str) -> None:
    """The pods carry neither the program's nor the laptop's packages."""
    done = subprocess.run(
        [bin_folder / "python", "-c", f"import {package}"], capture_output=True, check=False
    )
    assert b"ModuleNotFoundError" in done.stderr
