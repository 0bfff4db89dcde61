"""The arrows between the parts: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = [ROOT / "__main__.py", *(ROOT / "components").rglob("*.py")]
RUNTIME = [*(ROOT / "runtime").rglob("*.py")]
CLI = [*(ROOT / "cli").rglob("*.py")]
TESTS = [*(ROOT / "tests").rglob("*.py")]


def _imports(files: list[Path]) -> set[tuple[str, str]]:
    """File and dotted name of every import, those for type checkers and within functions too."""
    found: set[tuple[str, str]] = set()
    for file in files:
        where = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {(where, name.name) for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{where} imports relatively"
                found |= {(where, f"{node.module}.{name.name}") for name in node.names}
    return found


def _within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_the_files_are_there() -> None:
    """The rules below say something only while they read the whole program."""
    assert {len(files) > 5 for files in (PROGRAM, RUNTIME, CLI, TESTS)} == {True}


@pytest.mark.parametrize(
    ("files", "forbidden", "but"),
    [
        pytest.param(PROGRAM, ("runtime",), ("runtime.spec",), id="the program knows the seam only"),
        pytest.param(PROGRAM, ("cli", "tests"), (), id="the program knows no tool"),
        pytest.param(RUNTIME, ("components", "cli", "tests"), (), id="a pod knows nothing of the program"),
        pytest.param(
            RUNTIME,
            ("pulumi", "pulumi_aws", "pulumi_eks", "pulumi_kubernetes"),
            (),
            id="a pod carries no pulumi",
        ),
        pytest.param([*PROGRAM, *RUNTIME, *CLI], ("tests",), (), id="nothing imports tests"),
        pytest.param(
            [*PROGRAM, *RUNTIME], ("moto", "rich", "typer"), (), id="only the tool carries its needs"
        ),
    ],
)
def test_dependencies_point_one_way(
    files: list[Path], forbidden: tuple[str, ...], but: tuple[str, ...]
) -> None:
    """No import, wherever in a file it stands, goes against an arrow."""
    against = {
        (where, name)
        for where, name in _imports(files)
        if _within(name, *forbidden) and not _within(name, *but)
    }
    assert against == set()


def test_the_seam_imports_only_the_parsers_of_a_source() -> None:
    """`runtime.spec` is on both sides, and so is what it imports: types, bounds, pure parsers and names."""
    names = {name for _, name in _imports([ROOT / "runtime" / "spec.py"])}
    assert {name for name in names if _within(name, "runtime", "components", "cli")} == {
        "runtime.metric_names.METRICS_NAMESPACE",
        "runtime.model.ModelSource",
        "runtime.model.ModelSpec",
        "runtime.model.Quantization",
        "runtime.options.Frozen",
        "runtime.options.Options",
        "runtime.options.Sampling",
        "runtime.schemas.check_schema",
        "runtime.server_settings.ServerSettings",
        "runtime.server_settings.server_environment",
        "runtime.template.names",
    }
