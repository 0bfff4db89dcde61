"""What the README says that the code knows better."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from runtime.worker.answering.errors import SIGNS

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
CHOSEN = {"aws_error", "answer_cut", "busy", "server_error"}
"""Given to a class, or by way of a variable."""

FAILURES = {"DocumentFailure", "TransientFailure", "ServerFailure", "DoesNotFitError"}


def _reasons() -> set[str]:
    """The first argument of every failure that is made in the worker, and those of the server's errors."""
    found = {sign.reason for sign in SIGNS}
    for file in (ROOT / "runtime" / "worker").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in FAILURES
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


def test_every_reason_is_in_the_table() -> None:
    """Programs rely on these words, so the table has each of them, and no other."""
    table = README[README.index("| reason | class |") : README.index("A pod's port 8080")]
    told = set(re.findall(r"`(\w+)`", table)) - {"attempts"}
    assert told == _reasons() | CHOSEN


def test_it_is_short() -> None:
    """A newcomer reads it to its end."""
    assert len(README.splitlines()) < 150
