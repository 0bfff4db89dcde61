"""`ollama-eks pin` against a scripted registry: what is asked for, what is written, what is said."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from cli import graph, pin, registry, stack_file
from cli.main import app
from cli.stack_file import StackFile, StackFileError
from tests.unit.manifest import DIGEST, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

OLD = f"sha256:{'0' * 64}"
DEV = Path(graph.ROOT, "Pulumi.dev.yaml").read_bytes().decode()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that the command asks; a tag `gone` is not there, and `busy` has no room for us."""
    urls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        status = {"gone": 404, "busy": 429}.get(request.url.path.rpartition("/")[2], 200)
        return httpx.Response(status, content=MANIFEST)

    client = registry.client
    monkeypatch.setattr(registry, "client", lambda: client(httpx.MockTransport(answer)))
    return urls


@pytest.fixture
def command(asked: list[str], tmp_path: Path) -> Callable[..., tuple[Result, Path]]:
    """Writes a stack file and runs the command over it."""
    assert asked == []

    def start(text: str, *arguments: str) -> tuple[Result, Path]:
        path = tmp_path / "Pulumi.test.yaml"
        path.write_bytes(text.encode())
        result = CliRunner().invoke(app, ["pin", str(path), *arguments], env={"COLUMNS": "200"})
        assert sorted(tmp_path.iterdir()) == [path]
        return result, path

    return start


def _stack(*models: str) -> str:
    return "config:\n  ollama-eks:models:\n" + "".join(f"    - {model}\n" for model in models)


def _rows(output: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in output.splitlines()
        if line.startswith("│")
    ]


def test_the_file_of_this_project_gets_two_lines(
    command: Callable[..., tuple[Result, Path]], asked: list[str]
) -> None:
    """Each below its `from`; all the rest is as it was, and a second run writes nothing."""
    result, path = command(DEV)
    assert result.exit_code == 0, result.output
    text = path.read_bytes().decode()
    line = f"      digest: {DIGEST}\n"
    assert text == re.sub(r"(?m)^(      from: .*\n)", rf"\1{line}", DEV)
    assert text.count(line) == 2
    assert _rows(result.output) == [
        ["summarize", "llama3.2:3b", "", DIGEST[7:19], "pinned"],
        ["extract", "qwen2.5:7b", "", DIGEST[7:19], "pinned"],
    ]
    assert asked == [
        "https://registry.ollama.ai/v2/library/llama3.2/manifests/3b",
        "https://registry.ollama.ai/v2/library/qwen2.5/manifests/7b",
    ]
    os.utime(path, (1, 1))
    again = CliRunner().invoke(app, ["pin", str(path)], env={"COLUMNS": "200"})
    assert [row[4] for row in _rows(again.output)] == ["unchanged", "unchanged"]
    assert (again.exit_code, path.stat().st_mtime) == (0, 1)


PIN = f"digest: {DIGEST}"
AWKWARD = {
    "flow": (
        "[{name: a, from: x}, {from: y, name: b}]",
        f"[{{name: a, from: x, {PIN}}}, {{from: y, {PIN}, name: b}}]",
    ),
    "json": (
        '[{"name":"a","from":"x"}]',
        f'[{{"name":"a","from":"x", "digest": "{DIGEST}"}}]',
    ),
    "flow over lines": (
        "[{\n    name: a,\n    from: x,  # why\n  }]",
        f"[{{\n    name: a,\n    from: x, {PIN},  # why\n  }}]",
    ),
    "comment": (
        "\n    - from: x   # why\n      # the name\n      name: a\n",
        f"\n    - from: x   # why\n      {PIN}\n      # the name\n      name: a\n",
    ),
    "crlf": (
        "\r\n  - name: a\r\n    from: x\r\n\r\n",
        f"\r\n  - name: a\r\n    from: x\r\n    {PIN}\r\n\r\n",
    ),
    "no last newline": ("\n  - name: a\n    from: x", f"\n  - name: a\n    from: x\n    {PIN}"),
    "crlf, no last newline": (
        "\r\n  - name: a\r\n    from: x # why",
        f"\r\n  - name: a\r\n    from: x # why\r\n    {PIN}",
    ),
    "quotes": (
        "\n  - name: 'a'\n    'from': \"x\"\n",
        f"\n  - name: 'a'\n    'from': \"x\"\n    'digest': \"{DIGEST}\"\n",
    ),
    "old, moved": (
        f"\n  - name: a\n    digest: '{OLD}'   # why\n    from: x\n",
        f"\n  - name: a\n    digest: '{DIGEST}'   # why\n    from: x\n",
    ),
    "old, empty": (
        "\n  - name: a\n    digest: # soon\n    from: x\n",
        f"\n  - name: a\n    {PIN} # soon\n    from: x\n",
    ),
    "old, null": ("\n  - {name: a, digest: ~, from: x}\n", f"\n  - {{name: a, {PIN}, from: x}}\n"),
    "value below": (
        "\n  - name: a\n    from:\n      x # why\n",
        f"\n  - name: a\n    from:\n      x # why\n    {PIN}\n",
    ),
    "block text": (
        "\n  - from: >-\n      x\n\n    name: a\n",
        f"\n  - {PIN}\n    from: >-\n      x\n\n    name: a\n",
    ),
    "anchor and alias": (
        "\n  - name: a\n    from: &x x\n  - name: b\n    from: *x # too\n",
        f"\n  - name: a\n    from: &x x\n    {PIN}\n  - name: b\n    {PIN}\n    from: *x # too\n",
    ),
    "merge": (
        "\n  - &a\n    name: a\n    from: x\n  - <<: *a\n    name: b\n",
        f"\n  - &a\n    name: a\n    from: x\n    {PIN}\n  - <<: *a\n    name: b\n    {PIN}\n",
    ),
    "alias of the list": (
        "&l\n  - name: a\n    from: x\n  other: *l\n",
        f"&l\n  - name: a\n    from: x\n    {PIN}\n  other: *l\n",
    ),
    "wide characters": (
        '\n  - name: a\n    prompt: 🦙 é "q"\n    from: x\n    system: é\n',
        f'\n  - name: a\n    prompt: 🦙 é "q"\n    from: x\n    {PIN}\n    system: é\n',
    ),
}


@pytest.mark.parametrize(("before", "after"), AWKWARD.values(), ids=AWKWARD)
@pytest.mark.parametrize("head", ["", "\ufeff", "# é\n---\n"])
def test_awkward_yaml_differs_in_its_digests_alone(
    command: Callable[..., tuple[Result, Path]], head: str, before: str, after: str
) -> None:
    """Flow style, quotes, CRLF, comments, anchors: to the byte, and YAML reads the digest there."""
    start = f"{head}config:\n  ollama-eks:models: "
    result, path = command(start + before)
    assert result.exit_code == 0, result.output
    text = path.read_bytes().decode()
    assert text == start + after
    models = yaml.safe_load(text)["config"]["ollama-eks:models"]
    assert {model["digest"] for model in models} == {DIGEST}


@pytest.mark.parametrize(
    "models",
    [
        f"\n  - name: a\n    from: x\n    digest: &d {OLD}\n  - name: b\n    from: y\n    digest: *d\n",
        f"\n  - name: a\n    from: x\n    digest: |-\n      {OLD}\n",
        f"\n  - name: a\n    from: x\n    digest: !!str {OLD}\n",
        "\n  - name: a\n    from: x\n    digest: [1]\n",
        "\n  - ? from\n    : x\n    ? name\n    : a\n",
    ],
)
def test_yaml_that_is_too_artful_is_left_alone(
    command: Callable[..., tuple[Result, Path]], models: str
) -> None:
    """Then a person is told what to write."""
    text = f"config:\n  ollama-eks:models: {models}"
    result, path = command(text)
    assert (result.exit_code, path.read_bytes().decode()) == (2, text)
    assert result.output.startswith("error: ")


def test_one_model_of_a_shared_map_cannot_be_pinned_alone(
    command: Callable[..., tuple[Result, Path]],
) -> None:
    """Another would get its digest with it."""
    text = _stack("&a {name: a, from: x}", "{<<: *a, name: b, from: y}")
    result, path = command(text, "--model", "a")
    assert (result.exit_code, path.read_text()) == (2, text)
    assert result.output == (
        f"error: {path} is too artful to be changed: write each digest by hand (a: {DIGEST})\n"
    )


def test_only_the_models_that_are_named_are_pinned(
    command: Callable[..., tuple[Result, Path]], asked: list[str]
) -> None:
    """Others are neither asked for nor shown."""
    text = _stack("{name: a, from: x}", "{name: b, from: gone}", "{name: c, from: http://h:1/n/x}")
    result, path = command(text, "--model", "a", "--model", "c")
    assert result.exit_code == 0, result.output
    models = yaml.safe_load(path.read_text())["config"]["ollama-eks:models"]
    assert [model.get("digest") for model in models] == [DIGEST, None, DIGEST]
    assert [row[0] for row in _rows(result.output)] == ["a", "c"]
    assert asked == [
        "https://registry.ollama.ai/v2/library/x/manifests/latest",
        "http://h:1/v2/n/x/manifests/latest",
    ]


def test_one_tag_is_asked_for_once(command: Callable[..., tuple[Result, Path]], asked: list[str]) -> None:
    """Two models of it get one digest, even where it moves in between; a failure too is one."""
    result, _path = command(_stack("{name: a, from: x}", "{name: b, from: library/x:latest}"))
    assert result.exit_code == 0
    assert asked == ["https://registry.ollama.ai/v2/library/x/manifests/latest"]


def test_nothing_is_written_when_one_model_fails(command: Callable[..., tuple[Result, Path]]) -> None:
    """All problems are told at once, in a line each."""
    text = _stack(
        "{name: a, from: x}",
        "{name: b, from: 'x:gone'}",
        "{name: c, from: 'x:busy'}",
        "{name: d, from: x, modelfile: FROM x}",
        "{name: e, from: 'x/:'}",
    )
    result, path = command(
        text, "--model", "nobody", *[part for name in "abcde" for part in ("--model", name)]
    )
    assert (result.exit_code, path.read_text()) == (2, text)
    assert result.output.splitlines() == [
        f"error: {path} has no model nobody; it has a, b, c, d, e",
        "model b: registry.ollama.ai has no library/x:gone: look for a slip in name or tag",
        "model c: registry.ollama.ai has had too many requests and refuses library/x:busy: try again later",
        'model d: modelfile: given "FROM x": a model needs exactly one of `from` and `modelfile`',
        "model e: from: given \"x/:\": 'x/:' is no model name: write [host[:port]/][namespace/]model[:tag]",
        f"{path} is as it was",
    ]


def test_what_no_registry_has_is_left_alone(command: Callable[..., tuple[Result, Path]]) -> None:
    """It is reported, with its reason, and what is beside it is pinned."""
    built = (
        "{name: a, from: s3://b/m.gguf}",
        r'{name: b, modelfile: "FROM s3://b/m.gguf"}',
    )
    result, path = command(_stack(*built, "{name: c, from: x}"))
    assert (result.exit_code, path.read_text()) == (0, _stack(*built, f"{{name: c, from: x, {PIN}}}"))
    assert _rows(result.output)[:2] == [
        ["a", "s3://b/m.gguf", "", "", "not pinnable: made of files alone"],
        ["b", "a Modelfile", "", "", "not pinnable: made of files alone"],
    ]


def test_of_a_modelfile_the_base_is_pinned(
    command: Callable[..., tuple[Result, Path]], asked: list[str]
) -> None:
    """Where a registry has it; the digest stands before the text, which may be long."""
    before = "\n    - name: a\n      modelfile: |\n        FROM team/x:1b\n        SYSTEM Hi\n\n      # end\n"
    result, path = command(f"config:\n  ollama-eks:models:{before}")
    after = before.replace("      modelfile", f"      {PIN}\n      modelfile")
    assert (result.exit_code, path.read_text()) == (0, f"config:\n  ollama-eks:models:{after}")
    assert asked == ["https://registry.ollama.ai/v2/team/x/manifests/1b"]
    assert _rows(result.output) == [["a", "team/x:1b", "", DIGEST[7:19], "pinned"]]


def test_what_is_built_is_pinned_by_what_the_program_pulls_for_it(
    command: Callable[..., tuple[Result, Path]], asked: list[str]
) -> None:
    """A base that inputs name, and weights that are quantised here."""
    models = (
        '{name: a, modelfile: "FROM {{ inputs.base }}", inputs: {base: "http://h:1/n/x:1b"}}',
        "{name: b, from: x, quantize: q8_0}",
    )
    result, path = command(_stack(*models))
    assert result.exit_code == 0, result.output
    assert asked == [
        "http://h:1/v2/n/x/manifests/1b",
        "https://registry.ollama.ai/v2/library/x/manifests/latest",
    ]
    loaded = yaml.safe_load(path.read_text())["config"]["ollama-eks:models"]
    assert [model["digest"] for model in loaded] == [DIGEST, DIGEST]


@pytest.mark.parametrize(
    ("digest", "code", "state"), [("", 0, "not pinned"), (DIGEST, 0, "unchanged"), (OLD, 1, "moved")]
)
def test_a_check_writes_nothing(
    command: Callable[..., tuple[Result, Path]], digest: str, code: int, state: str
) -> None:
    """It ends with 1 if a tag has moved, and prints both digests, whole."""
    text = _stack(f"{{name: a, from: x, digest: '{digest}'}}")
    result, path = command(text, "--check")
    assert (result.exit_code, path.read_text()) == (code, text)
    short = DIGEST[7:19]
    assert _rows(result.output) == [["a", "x", digest[7:19], short, state]]
    moved = f"a: x has moved from {OLD} to {DIGEST}\n"
    assert result.output.endswith(moved) == (state == "moved")


def test_the_mode_of_the_file_and_a_link_to_it_stay(asked: list[str], tmp_path: Path) -> None:
    """Only the content is another."""
    assert asked == []
    path = tmp_path / "real" / "Pulumi.test.yaml"
    path.parent.mkdir()
    path.write_text(_stack("{name: a, from: x}"))
    path.chmod(0o640)
    link = tmp_path / "Pulumi.test.yaml"
    link.symlink_to(path)
    assert pin.run(link)
    assert link.readlink() == path
    assert path.read_text() == _stack(f"{{name: a, from: x, {PIN}}}")
    assert path.stat().st_mode & 0o7777 == 0o640
    assert [*path.parent.iterdir()] == [path]


def test_what_was_saved_meanwhile_is_not_lost(tmp_path: Path) -> None:
    """An editor's text is newer than what was read before the registries were asked."""
    path = tmp_path / "Pulumi.test.yaml"
    path.write_text(_stack("{name: a, from: x}"))
    file = StackFile.read(path)
    path.write_text("newer")
    with pytest.raises(StackFileError, match="was changed meanwhile: nothing is written"):
        file.write(file.with_digests({0: DIGEST}))
    assert [(found, found.read_text()) for found in tmp_path.iterdir()] == [(path, "newer")]


def test_a_disk_that_is_full_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it."""
    path = tmp_path / "Pulumi.test.yaml"
    path.write_text(_stack("{name: a, from: x}"))
    file = StackFile.read(path)

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stack_file.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.write(file.with_digests({0: DIGEST}))
    assert [(found, found.read_text()) for found in tmp_path.iterdir()] == [
        (path, _stack("{name: a, from: x}"))
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("config: [1", "is not a stack file with ollama-eks:models in its `config`"),
        ("config: {}", "is not a stack file with ollama-eks:models in its `config`"),
        ("\ud800", "is not a stack file with ollama-eks:models in its `config`"),
        ("config: {'ollama-eks:models': '[]'}", "is not a YAML list of maps: write it as one"),
        ("config: {'ollama-eks:models': [a]}", "is not a YAML list of maps: write it as one"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, problem: str) -> None:
    """In one line."""
    path = tmp_path / "Pulumi.odd.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(StackFileError) as caught:
        StackFile.read(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line_names_one_file(tmp_path: Path) -> None:
    """By its path, or by its stack's name, as Pulumi writes names."""
    (tmp_path / "Pulumi.dev.yaml").touch()
    (tmp_path / "Pulumi.yaml").touch()
    assert pin.stack_file(Path("a.yaml"), "", tmp_path) == Path("a.yaml")
    for name in ("dev", "organisation/ollama-eks/dev"):
        assert pin.stack_file(None, name, tmp_path) == tmp_path / "Pulumi.dev.yaml"
    for path, name in ((None, ""), (Path("a.yaml"), "dev")):
        with pytest.raises(pin.PinError, match=r"of this project there are: Pulumi\.dev\.yaml$"):
            pin.stack_file(path, name, tmp_path)


def test_the_key_of_the_models_is_the_programs() -> None:
    """The editor knows the project's prefix without loading the SDK."""
    assert f"{graph.PROJECT}:models" == stack_file.MODELS
