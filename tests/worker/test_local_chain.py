"""`ollama-eks local` with models that follow each other: rules, queues and tasks as the graph has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import yaml

from cli.local import run

if TYPE_CHECKING:
    from pathlib import Path


def _chained(file: Path) -> Path:
    """The local stack, and before its model in the file another one that follows it."""
    loaded: dict[str, Any] = yaml.safe_load(run.STACK_FILE.read_text())
    (model,) = loaded["config"]["ollama-eks:models"]
    loaded["config"]["ollama-eks:models"] = [{**model, "name": "judge", "after": model["name"]}, model]
    file.write_text(yaml.safe_dump(loaded))
    return file


def test_a_result_is_the_next_models_document(tmp_path: Path, ollama_binary: Path) -> None:
    """Under the name of the first document; one that got no answer goes no further."""
    documents = tmp_path / "documents"
    (documents / "letters").mkdir(parents=True)
    (documents / "letters" / "a.txt").write_text("a letter")
    (documents / "empty.txt").touch()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cli.main", "local", "--home", str(tmp_path / "home")),
            *("--stack", str(_chained(tmp_path / "Pulumi.chained.yaml")), "--documents", str(documents)),
        ],
        env={**os.environ, "OLLAMA_BINARY": str(ollama_binary), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (folder,) = (tmp_path / "home" / "runs").iterdir()
    records = {
        path.relative_to(folder / "records").as_posix(): json.loads(path.read_text())
        for path in (folder / "records").rglob("*.json")
    }
    outcomes = {name: record["outcome"] for name, record in records.items()}
    assert outcomes == {
        "summarize/letters/a.txt.json": "answered",
        "summarize/empty.txt.json": "failed",
        "judge/letters/a.txt.json": "answered",
    }
    answer = records["summarize/letters/a.txt.json"]["result"]["key"]
    assert records["judge/letters/a.txt.json"]["document"]["key"] == answer
