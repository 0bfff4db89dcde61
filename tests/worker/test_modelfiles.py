"""Modelfiles, here and in Ollama's own hands: the same text makes the same model, or is refused by both.

`modelfiles/` holds a text for each thing that one can say; `@GGUF@` and the like stand for files that are
made here. Ollama's command line reads it on one side, this project's parser on the other; the real server
says what has come of it.
"""

from __future__ import annotations

import ast
import asyncio
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.modelfiles import modelfile_text
from runtime.command import CommandError
from runtime.ollama.building import Builder
from runtime.spec import ModelSource, ModelSpec
from tests.worker import gguf_files, ollama_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CORPUS = Path(__file__).parent / "modelfiles"

OURS, THEIRS = "built", "created"

FULL = {
    "template": "{{ .System }}{{ .Prompt }}",
    "system": "The base's own.",
    "license": ["The base's own."],
    "parameters": {"num_ctx": 512, "seed": 42, "stop": ["x", "y"]},
    "messages": [{"role": "user", "content": "The base's own."}],
}

Show = dict[str, Any]


class _Offline(Builder):
    """The builder, but for the pull: the bases are on the server, and there is no registry here."""

    async def _pull(self, source: ModelSource) -> None:
        pass


class Sides:
    """One server, and the two ways of a Modelfile into it."""

    def __init__(self, binary: Path, url: str, models: Path, folder: Path) -> None:
        self.binary, self.url, self.models, self.folder = binary, url, models, folder

    def theirs(self, path: Path) -> Show | None:
        """What `ollama create -f` makes of it; None if that refuses."""
        done = subprocess.run(
            [self.binary, "create", THEIRS, "-f", path],
            env={"OLLAMA_HOST": self.url, "HOME": str(self.folder)},
            capture_output=True,
            check=False,
        )
        return self._show(THEIRS) if done.returncode == 0 else None

    def ours(self, path: Path) -> Show | None:
        """What this project makes of it; None if that refuses, before or at the server."""
        try:
            return self.build(modelfile=modelfile_text(str(path)))
        except (CommandError, ValueError):
            return None

    def build(self, **source: object) -> Show:
        """What the server shows of a model that is built from a source."""
        spec = ModelSpec(source=ModelSource.model_validate(source))

        async def make() -> None:
            async with httpx.AsyncClient(base_url=self.url, timeout=60) as server:
                await _Offline(server=server, models=self.models, stall_seconds=45).make(spec)

        asyncio.run(make())
        return self._show(OURS)

    def _show(self, name: str) -> Show:
        answer = httpx.post(f"{self.url}/api/show", json={"model": name}, timeout=60).raise_for_status()
        shown: Show = answer.json()
        del shown["modified_at"]
        # The server lists parameters in no order.
        for field in ("modelfile", "parameters"):
            lines = shown.get(field, "").replace(f"{name}:latest", "name").split("\n")
            shown[field] = sorted(lines)
        # It takes several files in no order either, and says family and size of the first.
        families = sorted(shown["details"]["families"])
        if len(families) > 1:
            shown["details"] = {"families": families}
        return shown


@pytest.fixture(scope="module")
def files(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """What stands in the corpus for a file, and that file."""
    folder = tmp_path_factory.mktemp("files")
    gguf_files.write_adapter(folder / "adapter.gguf")
    gguf_files.write_projector(folder / "projector.gguf")
    (folder / "text").write_text("no weights at all")
    return {
        "@GGUF@": tiny_gguf,
        "@ADAPTER@": folder / "adapter.gguf",
        "@PROJECTOR@": folder / "projector.gguf",
        "@TEXT@": folder / "text",
    }


@pytest.fixture(scope="module")
def sides(ollama_binary: Path, tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """A server with the bases that the corpus names."""
    folder = tmp_path_factory.mktemp("sides")
    with ollama_server.running(ollama_binary, folder / "models") as url:
        for name in ("tiny", "team/tiny:v1.0_x"):
            ollama_server.create(url, name, tiny_gguf)
        body = {"model": "full", "from": "tiny", "stream": False, **FULL}
        httpx.post(f"{url}/api/create", json=body, timeout=60).raise_for_status()
        yield Sides(ollama_binary, url, folder / "models", folder)


def _texts(kind: str) -> list[str]:
    return sorted(path.stem for path in (CORPUS / kind).iterdir())


@pytest.fixture
def text(request: pytest.FixtureRequest, files: Mapping[str, Path], tmp_path: Path) -> Path:
    """One of the corpus, with the paths of this run in it."""
    content = (CORPUS / f"{request.param}.Modelfile").read_bytes()
    for name, file in files.items():
        content = content.replace(name.encode(), str(file).encode())
    path = tmp_path / "Modelfile"
    path.write_bytes(content)
    return path


def corpus(kind: str) -> pytest.MarkDecorator:
    """Runs a test over every text of one kind."""
    return pytest.mark.parametrize(
        "text", [pytest.param(f"{kind}/{name}", id=name) for name in _texts(kind)], indirect=True
    )


@corpus("accepted")
def test_a_modelfile_means_here_what_it_means_to_ollama(sides: Sides, text: Path) -> None:
    """Modelfile, parameters, template, system, messages, license, capabilities: all that is shown."""
    theirs = sides.theirs(text)
    assert theirs is not None
    assert sides.ours(text) == theirs


@corpus("refused")
def test_what_ollama_refuses_is_refused_here(sides: Sides, text: Path) -> None:
    """By the parser or by the server."""
    assert (sides.theirs(text), sides.ours(text)) == (None, None)


def test_the_corpus_is_of_this_size() -> None:
    """A text that is not found is not tested."""
    assert [len(_texts(kind)) for kind in ("accepted", "refused", "different")] == [65, 45, 7]


DIFFERENCES = {
    "from-twice": "Ollama builds on the last and says nothing of the first",
    "adapter-twice": "Ollama takes the last and says nothing of the first",
    "retired-parameter": "Ollama drops it with a warning, which nobody would see in a Job",
    "hexadecimal-number": "Go reads 0x1p-2 as 0.25; nobody writes it",
    "placeholder-without-input": "it is text to Ollama, and a slip here",
    "not-utf-8": "Ollama puts a replacement character for every wrong byte",
}


@pytest.mark.parametrize(
    ("text", "why"),
    [pytest.param(f"different/{name}", why, id=name) for name, why in DIFFERENCES.items()],
    indirect=["text"],
)
def test_what_ollama_would_lose_in_silence_is_refused_here(sides: Sides, text: Path, why: str) -> None:
    """Each with its reason; besides these, and the test below, there is no difference."""
    assert sides.theirs(text) is not None, why
    assert sides.ours(text) is None, why


@pytest.mark.parametrize("text", ["different/unprintable-characters"], indirect=True)
def test_what_go_calls_unprintable_stays(sides: Sides, text: Path) -> None:
    """No-break spaces and joiners are part of French, Persian and emoji; `ollama create` removes them."""
    theirs, ours = sides.theirs(text), sides.ours(text)
    assert theirs is not None
    assert ours is not None
    written = ours["system"]
    assert written == "Prix\u00a0: 5\u202f€, n\u200cm, 👩\u200d💻, a\u3000b."
    assert theirs["system"] == "".join(filter(str.isprintable, written))


FILLED = '''\
FROM {{ inputs.base }}
SYSTEM {{ inputs.system }}
TEMPLATE {{ if .System }}{{ .System }}{{ end }}{{ inputs.template.before }}{{ .Prompt }}
MESSAGE user """{{ inputs.messages.0 }}"""
MESSAGE assistant {{ inputs.messages.1 }}
PARAMETER stop {{ inputs.stop }}
PARAMETER num_ctx {{ inputs.tokens }}
PARAMETER temperature {{ inputs.heat }}
PARAMETER use_mmap {{ inputs.map }}
'''

_QUOTES = ('"', '"""', "\n", "\r\n", "#", "\\", " ", "\t", "\0")
_CODE = ("FROM nothing", "\nPARAMETER seed 1\n", "{{ inputs.heat }}", "{{ .Prompt }}", "{{", "}}", "<|end|>")
_OTHER = ("\u00a0", "\u200d", "\u2028", "\ufeff", "é", "👩\u200d💻")
_PIECES = st.one_of(
    st.sampled_from((*_QUOTES, *_CODE, *_OTHER)), st.text(st.characters(codec="utf-8"), max_size=5)
)
values = st.lists(_PIECES, max_size=8).map("".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    system=values,
    before=values.map(lambda text: text.replace("{", "(")),
    messages=st.tuples(values, values),
    stop=values,
    tokens=st.integers(1, 2**31),
    heat=st.floats(0, 2, width=32),
)
def test_values_come_back_from_the_server_as_they_were_given(  # noqa: PLR0913  one value for each place
    *, sides: Sides, system: str, before: str, messages: tuple[str, str], stop: str, tokens: int, heat: float
) -> None:
    """Whatever is in them: a value is no command, no quote, no placeholder, and a number stays a number."""
    inputs = {
        "base": "tiny",
        "system": system,
        "template": {"before": before},
        "messages": list(messages),
        "stop": stop,
        "tokens": tokens,
        "heat": heat,
        "map": False,
    }
    shown = sides.build(modelfile=FILLED, inputs=inputs)
    assert shown.get("system", "") == system
    assert shown["template"] == f"{{{{ if .System }}}}{{{{ .System }}}}{{{{ end }}}}{before}{{{{ .Prompt }}}}"
    assert shown["messages"] == [
        {"role": role, "content": content}
        for role, content in zip(("user", "assistant"), messages, strict=True)
    ]
    parameters = dict(line.split(maxsplit=1) for line in shown["parameters"])
    # Go's quoting is Python's here.
    assert ast.literal_eval(parameters.pop("stop")) == stop
    assert {name: ast.literal_eval(value.title()) for name, value in parameters.items()} == {
        "num_ctx": tokens,
        "temperature": pytest.approx(heat, rel=1e-6),
        "use_mmap": False,
        "num_thread": 1,
    }
