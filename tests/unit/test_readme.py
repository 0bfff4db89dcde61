"""What the README and the manual say that the code knows better."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pydantic.alias_generators import to_camel

from components.model_section import Model
from components.settings import Settings
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
    manual = (ROOT / "docs" / "documents.md").read_text()
    table = manual[manual.index("| reason | class |") : manual.index("## Looking at a pod")]
    told = set(re.findall(r"`(\w+)`", table)) - {"attempts"}
    assert told == _reasons() | CHOSEN


def test_it_is_short() -> None:
    """A newcomer reads it to its end."""
    assert len(README.splitlines()) < 150


def test_its_links_lead_somewhere() -> None:
    """Each is to a file of this repository."""
    links = re.findall(r"\]\(([^)#]+)", README)
    assert [link for link in links if not link.startswith("https:") and not (ROOT / link).exists()] == []


def test_every_key_is_in_its_table() -> None:
    """A stack file's keys and a model's are all told, and no other."""
    stack, models = README.split("| key of a model |")
    for table, of in ((stack[stack.index("| key |") :], Settings), (models, Model)):
        rows = re.findall(r"^\|((?: `\w+`)+) \|", table.partition("\n\n")[0], re.MULTILINE)
        told = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
        assert told == {field.alias or to_camel(name) for name, field in of.model_fields.items()}
