"""`ollama-eks model rebuild`: runs a model's Job again, for a directory lost from a store that is there.

A store that was lost needs none of this: a new file system has another id, and every Job that id in its name,
so the next `pulumi up` makes all of them anew.
"""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from cli.graph import ROOT, evaluate
from components.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

JOB = "kubernetes:batch/v1:Job"


class RebuildError(Exception):
    """There is nothing to rebuild; the message says why."""


def run(
    stack_file: Path,
    model: str,
    *,
    yes: bool,
    echo: Callable[[str], None],
    call: Callable[[Sequence[str]], int] | None = None,
) -> int:
    """Prints the command that replaces the model's Job, and with `yes` runs it.

    Args:
        stack_file: a `Pulumi.<stack>.yaml`.
        model: its name in the stack.
        yes: whether to run the command.
        echo: prints a line.
        call: runs a command in the program's folder and returns its exit code; by default it is run.

    Returns:
        The command's exit code; 0 if it was not run.

    Raises:
        RebuildError: the stack has no such model.
        GraphError: the program does not evaluate.
    """
    command = replacement(stack_file, model)
    echo(shlex.join(command))
    if not yes:
        echo(
            "Not run: add --yes. It pulls or builds the model again if its directory is gone, and only then."
        )
        return 0
    return (call or _call)([*command, "--yes"])


def replacement(stack_file: Path, model: str) -> list[str]:
    """The command that replaces the Job of one model, and nothing else of the stack.

    Pulumi deletes the old Job first, since its name is given and not made (pulumi-kubernetes, "auto-naming").
    Pods that wait for the model find it when it is there; those that have it loaded never notice.

    Raises:
        RebuildError: the stack has no such model.
        GraphError: the program does not evaluate.
    """
    jobs = {job.name.removesuffix("-model"): job for job in evaluate(stack_file).of_type(JOB)}
    if model not in jobs:
        known = ", ".join(jobs)
        raise RebuildError(f"{stack_file.name} has no model {model}{did_you_mean(model, [*jobs])} ({known})")
    stack = stack_file.name.removeprefix("Pulumi.").removesuffix(".yaml")
    return ["pulumi", "up", "--stack", stack, "--target-replace", jobs[model].urn]


def _call(command: Sequence[str]) -> int:
    try:
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    except FileNotFoundError as error:
        raise RebuildError(
            "there is no `pulumi` on PATH: install it, or run the command elsewhere"
        ) from error
