"""What outlived a stack is taken over by a new one, by the file and the commands that the docs give."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import ROOT
from tests.engine import language_plugin, tools
from tests.engine.cloud import label
from tests.engine.engine import Stack

if TYPE_CHECKING:
    from pathlib import Path

ADOPTED = ("Bucket documents", "Bucket results", "FileSystem models", "Key encryption")


@pytest.fixture(autouse=True)
def _a_language_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PATH, where the engine looks for it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    plugin = folder / "pulumi-language-python"
    plugin.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{language_plugin.__file__}"\n')
    plugin.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def _import_file(ids: dict[str, str]) -> dict[str, Any]:
    """The file of the docs, with the ids of this cloud in the place of theirs."""
    (text,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "protection.md").read_text(), re.DOTALL)
    content = json.loads(text)
    for entry in content["resources"]:
        if "id" in entry:
            entry["id"] = ids[f"{entry['type'].rpartition(':')[2]} {entry['name']}"]
    return content


def test_a_new_stack_takes_over_what_the_old_one_left(tmp_path: Path) -> None:
    """With everything in it: nothing of it is made anew, replaced or even changed."""
    old = Stack.new(tools.pulumi_cli(), tmp_path / "old")
    new = Stack.new(tools.pulumi_cli(), tmp_path / "new")
    try:
        old.configure({"encryptionKey": "create"})
        old.up()
        old.run("destroy", "--yes", "--exclude-protected")
        left = {label(thing.urn): identity for identity, thing in old.cloud.things.items()}
        assert {*ADOPTED} <= left.keys()

        new.cloud.things.update(old.cloud.things)
        new.cloud.made = old.cloud.made
        new.configure({"encryptionKey": "create"})
        (new.folder / "project" / "adopt.json").write_text(json.dumps(_import_file(left)))
        new.run("import", "--file", "adopt.json", "--generate-code=false", "--yes")
        steps = new.up().steps
        assert [name for name in ADOPTED if name in steps] == []
        assert {name: [new.cloud.things[left[name]].urn, *_ids(new, name)] for name in ADOPTED} == {
            name: [old.cloud.things[left[name]].urn, left[name]] for name in ADOPTED
        }
    finally:
        old.close()
        new.close()


def _ids(stack: Stack, name: str) -> list[str]:
    """The ids that the state has for a resource."""
    return [each["id"] for each in stack.resources if "id" in each and label(each["urn"]) == name]
