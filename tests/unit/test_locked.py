"""The file of digests: nothing in it is without its source, and there are none outside of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from cli import lock
from cli.graph import ROOT
from components import locked
from components.locked import LOCKS

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_names_nothing_that_is_not_wanted() -> None:
    """Each lock is of an image or chart that the program names, in this version."""
    assert locked.read().keys() <= {str(wanted) for wanted in lock.WANTED}


@pytest.mark.parametrize("missing", ["source", "date"])
def test_a_digest_without_source_or_day_is_refused(missing: str, tmp_path: Path) -> None:
    """A digest that somebody wrote down by hand does not reach the program."""
    entry = {"digest": f"sha256:{'a' * 64}", "source": "https://r.test/", "date": "2026-01-01"}
    assert LOCKS.validate_python({"r.test/a:1": entry})
    del entry[missing]
    file = tmp_path / "versions.lock.json"
    file.write_text(json.dumps({"r.test/a:1": entry}))
    with pytest.raises(ValidationError, match=missing):
        locked.read(file)


GENERATED = {"uv.lock", "go.sum", locked.FILE.name}
"""Files of digests which a tool writes."""

PARTS = ("components", "runtime", "cli", "tools", "examples", "docs")


def test_no_digest_stands_anywhere_else() -> None:
    """What others publish has its digest in the lock file, with its source, or none."""
    files = [
        *ROOT.glob("*.*"),
        *(path for part in PARTS for path in (ROOT / part).rglob("*")),
    ]
    with_digest = {
        str(path.relative_to(ROOT))
        for path in files
        if path.is_file() and path.name not in GENERATED and "__pycache__" not in path.parts
        if re.search(rb"sha256[:-][0-9a-f]{64}", path.read_bytes())
    }
    assert with_digest == set()
