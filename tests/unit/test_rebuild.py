"""`ollama-eks model rebuild`: the one command that runs a model's Job again. No cluster, no Pulumi."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cli import rebuild
from cli.graph import ROOT
from cli.main import app

if TYPE_CHECKING:
    from collections.abc import Sequence

DEV = ROOT / "Pulumi.dev.yaml"
URN = "urn:pulumi:dev::ollama-eks::ollama-eks:index:Model$kubernetes:batch/v1:Job::extract-model"
COMMAND = ["pulumi", "up", "--stack", "dev", "--target-replace", URN]


def test_the_jobs_urn_is_the_engines() -> None:
    """Stack, project, the component's type, the Job's, its logical name: and only this Job is replaced."""
    assert rebuild.replacement(DEV, "extract") == COMMAND


def test_a_model_that_is_not_there() -> None:
    """The error says what the stack file has."""
    with pytest.raises(rebuild.RebuildError) as caught:
        rebuild.replacement(DEV, "extrakt")
    assert str(caught.value) == (
        "Pulumi.dev.yaml has no model extrakt; did you mean extract? (extract, summarize)"
    )


@pytest.mark.parametrize("yes", [True, False])
def test_nothing_is_run_unasked(*, yes: bool) -> None:
    """Without --yes it prints; with it, Pulumi is not to ask again, and its exit code is ours."""
    said: list[str] = []
    called: list[Sequence[str]] = []

    def call(command: Sequence[str]) -> int:
        called.append(command)
        return 3

    assert rebuild.run(DEV, "extract", yes=yes, echo=said.append, call=call) == (3 if yes else 0)
    assert said[0] == " ".join(["pulumi up --stack dev --target-replace", f"'{URN}'"])
    assert called == ([[*COMMAND, "--yes"]] if yes else [])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["extract", "--stack", "dev"], 0, URN),
        (["nothing", "--stack", "dev"], 2, "has no model nothing"),
        (["extract", "--stack", "nowhere"], 2, "nowhere"),
        (["extract", "--stack", "dev", "--yes"], 2, "no `pulumi` on PATH"),
    ],
)
def test_the_command_line(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    """Errors are one sentence and the exit code 2."""
    monkeypatch.setenv("PATH", "/nowhere")
    result = CliRunner().invoke(app, ["model", "rebuild", *arguments])
    assert (result.exit_code, said in result.output) == (code, True)
