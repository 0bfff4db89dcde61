"""Everything that this system sends to a model server and reads of its answers, on a real one.

By default the pinned server; any other one by OLLAMA_BINARY, which is how a new version is judged before the
pin is raised. Requests are written out here, not made by the code under test: they are the contract.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest

from cli import tiny_model, toolchain
from runtime.server_settings import ServerSettings, server_environment
from runtime.worker.answering.errors import failure
from tests.worker import ollama_server, registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPTIONS = {"num_ctx": 512, "num_predict": 64, "num_thread": 1, "use_mmap": False, "temperature": 0}
ALWAYS = {"keep_alive": -1, "truncate": False, "shift": False, "stream": False}
TEXT = "A short letter."
TOO_LONG = "word " * 200
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
VECTOR = 32


@pytest.fixture(scope="module")
def binary() -> Path:
    """The server that OLLAMA_BINARY names, else the pinned one."""
    return toolchain.local_ollama() if "OLLAMA_BINARY" in os.environ else toolchain.pinned_ollama()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the server."""
    return tmp_path_factory.mktemp("contract") / "models"


@pytest.fixture(scope="module")
def http(binary: Path, models: Path, tiny_gguf: Path) -> Iterator[httpx.Client]:
    """A client of a server that has a model whose answers end, and one whose answers do not."""
    runs_on = models.parent / "length.gguf"
    tiny_model.write(runs_on, "length")
    with ollama_server.running(binary, models, OLLAMA_MAX_LOADED_MODELS="1") as url:
        ollama_server.create(url, "tiny", tiny_gguf, template="{{ .System }}{{ .Prompt }}")
        ollama_server.create(url, "length", runs_on)
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client


def generate(http: httpx.Client, **body: object) -> httpx.Response:
    """A request as `runtime.ollama.client` makes it, but for what is given."""
    whole = {"model": "tiny", "prompt": TEXT, "options": OPTIONS, **ALWAYS, **body}
    return http.post("/api/generate", json=whole)


def embed(http: httpx.Client, **body: object) -> httpx.Response:
    """Likewise."""
    whole = {"model": "tiny", "input": [TEXT], "options": OPTIONS, "keep_alive": -1, "truncate": False}
    return http.post("/api/embed", json={**whole, **body})


def reason(response: httpx.Response) -> str:
    """What a worker makes of an error."""
    return failure(response.status_code, response.json()["error"], "too long").reason


def events(http: httpx.Client, path: str, body: dict[str, object]) -> list[dict[str, Any]]:
    """The lines of a stream that began with HTTP 200."""
    with http.stream("POST", path, json={**body, "stream": True}) as response:
        assert response.status_code == httpx.codes.OK
        return [json.loads(line) for line in response.iter_lines()]


def test_the_version_is_the_programs_own(http: httpx.Client, binary: Path) -> None:
    """`/api/version` says what `--version` says."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    version = toolchain.client_version(said.stdout + said.stderr)
    assert http.get("/api/version").json() == {"version": version}


def test_show_tells_what_a_model_can_do(http: httpx.Client) -> None:
    """`capabilities` is a list of words; without it, nothing would be seen and nothing thought."""
    shown = http.post("/api/show", json={"model": "tiny"}).json()
    assert shown["capabilities"] == ["completion"]


def test_an_empty_request_loads(http: httpx.Client) -> None:
    """And the model is listed from then on, with its digest and place, for centuries."""
    body = {"model": "tiny", "keep_alive": -1, "options": OPTIONS, "stream": False}
    assert http.post("/api/generate", json=body).json()["done_reason"] == "load"
    (model,) = http.get("/api/ps").json()["models"]
    assert (model["name"], model["size_vram"], model["context_length"]) == ("tiny:latest", 0, 512)
    assert re.fullmatch("[0-9a-f]{64}", model["digest"])
    assert model["size"] > 0
    assert int(model["expires_at"][:4]) > 2100


def test_an_answer_is_counted(http: httpx.Client) -> None:
    """Text, its end and its reason, tokens of both sides, nanoseconds of each phase; nothing is cut."""
    answer = generate(http, system="Say. ").json()
    assert (answer["done"], answer["done_reason"], answer["eval_count"]) == (True, "stop", 9)
    assert answer["prompt_eval_count"] == 1 + len(f"Say. {TEXT}")
    assert len(answer["response"].split()) == 8
    seconds = [answer[f"{phase}_duration"] / 1e9 for phase in ("load", "prompt_eval", "eval", "total")]
    assert all(0 < each < 60 for each in seconds)


def test_temperature_and_seed_are_heeded(http: httpx.Client) -> None:
    """The same seed draws the same words; at temperature 0 none is needed."""

    def said(**options: object) -> str:
        return generate(http, options={**OPTIONS, **options}).json()["response"]

    assert said() == said()
    assert said(temperature=1, seed=1) == said(temperature=1, seed=1)
    assert len({said(temperature=1, seed=seed) for seed in range(4)}) > 1


def test_equal_runner_options_keep_the_model(http: httpx.Client) -> None:
    """Sampling and num_predict may differ from request to request; another num_ctx loads it again."""
    context = {"num_ctx": 512}
    generate(http)
    for options in ({**OPTIONS, "num_predict": 1}, {**OPTIONS, "temperature": 1, "seed": 2}):
        assert generate(http, options=options).json()["load_duration"] < 300e6
        assert http.get("/api/ps").json()["models"][0]["context_length"] == context["num_ctx"]
    generate(http, options={**OPTIONS, "num_ctx": 256})
    assert http.get("/api/ps").json()["models"][0]["context_length"] == 256


def test_what_does_not_fit_is_refused_not_cut(http: httpx.Client) -> None:
    """By `truncate: false`, for prompts and texts to embed; without it the server cuts and says nothing."""
    for refused in (generate(http, prompt=TOO_LONG), embed(http, input=[TOO_LONG])):
        assert (refused.status_code, reason(refused)) == (400, "too_long")
    cut = generate(http, prompt=TOO_LONG, truncate=True).json()
    assert cut["prompt_eval_count"] < len(TOO_LONG)


def test_a_full_context_ends_the_answer(http: httpx.Client) -> None:
    """By `shift: false`: the reason is `length`, and fewer tokens came than num_predict allows."""
    answer = generate(http, model="length", options={**OPTIONS, "num_predict": 2000}).json()
    assert (answer["done"], answer["done_reason"]) == (True, "length")
    assert answer["prompt_eval_count"] + answer["eval_count"] <= OPTIONS["num_ctx"] + 1
    limited = generate(http, model="length").json()
    assert (limited["done_reason"], limited["eval_count"]) == ("length", OPTIONS["num_predict"])


def test_a_format_binds_the_answer(http: httpx.Client) -> None:
    """A schema is met, with `think: false` beside it; one that makes no grammar is the document's failure."""
    answer = generate(http, format=SCHEMA, think=False).json()
    jsonschema.validate(json.loads(answer["response"]), SCHEMA)
    refused = generate(http, format={"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}})
    assert (refused.is_error, reason(refused)) == (True, "refused")


def test_thoughts_of_a_model_without_any_are_refused(http: httpx.Client) -> None:
    """`think: true` is a 400; the worker takes it for the document's failure."""
    refused = generate(http, think=True)
    assert (refused.status_code, reason(refused)) == (400, "refused")


def test_a_text_is_embedded(http: httpx.Client) -> None:
    """One vector for one text, counted."""
    answer = embed(http).json()
    assert [len(vector) for vector in answer["embeddings"]] == [VECTOR]
    assert answer["prompt_eval_count"] == 1 + len(TEXT)
    assert 0 <= answer["load_duration"] <= answer["total_duration"]


def test_a_model_that_is_not_there(http: httpx.Client) -> None:
    """404 everywhere, which is the server's failure and not the document's."""
    for answer in (generate(http, model="none"), embed(http, model="none")):
        assert (answer.status_code, reason(answer)) == (404, "model_gone")
    assert http.post("/api/show", json={"model": "none"}).status_code == 404


async def test_a_full_queue_is_busy(binary: Path, models: Path, http: httpx.Client) -> None:
    """503, which is tried again."""
    del http
    with ollama_server.running(binary, models, OLLAMA_MAX_QUEUE="1") as url:
        body = {"model": "length", "prompt": TEXT, "options": OPTIONS, **ALWAYS}
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            # At once, while the model loads: all but a few have no place to wait.
            answers = await asyncio.gather(*(client.post("/api/generate", json=body) for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200, 503}
    assert {reason(answer) for answer in answers if answer.is_error} == {"busy"}


def test_a_damaged_model_is_the_servers_failure(binary: Path, tmp_path: Path, tiny_gguf: Path) -> None:
    """A blob that was cut off does not load: no document is to blame, and the worker never gets ready."""
    models = tmp_path / "models"
    with ollama_server.running(binary, models) as url:
        ollama_server.create(url, "tiny", tiny_gguf)
        blob = max((models / "blobs").iterdir(), key=lambda path: path.stat().st_size)
        os.truncate(blob, blob.stat().st_size // 2)
        with httpx.Client(base_url=url, timeout=60) as client:
            answer = generate(client)
    assert (answer.status_code, reason(answer)) == (500, "runner_down")
    assert "exceeds file size" in answer.json()["error"]


def test_blobs_are_checked(http: httpx.Client) -> None:
    """Known or not by HEAD; taken by POST if the bytes are those of the digest."""
    content = os.urandom(1000)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert http.head(f"/api/blobs/{digest}").status_code == 404
    assert http.post(f"/api/blobs/{digest}", content=content[:-1]).status_code == 400
    assert http.post(f"/api/blobs/{digest}", content=content).status_code == 201
    assert http.head(f"/api/blobs/{digest}").status_code == 200


def test_a_model_is_created(http: httpx.Client, tiny_gguf: Path) -> None:
    """From a blob, with all that a Modelfile says; the stream's last line is `success`."""
    content = tiny_gguf.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    http.post(f"/api/blobs/{digest}", content=content).raise_for_status()
    body: dict[str, object] = {
        "model": "made",
        "files": {"tiny.gguf": digest},
        "template": "{{ .System }}{{ .Prompt }}",
        "system": "Say.",
        "license": ["mine"],
        "messages": [{"role": "user", "content": "Hi"}],
        "parameters": {"temperature": 0, "stop": ["end"], "num_ctx": 256},
    }
    lines = events(http, "/api/create", body)
    assert lines[-1] == {"status": "success"}
    shown = http.post("/api/show", json={"model": "made"}).json()
    assert (shown["template"], shown["system"], shown["license"]) == (body["template"], "Say.", "mine")
    assert {tuple(line.split()) for line in shown["parameters"].splitlines()} == {
        ("temperature", "0"),
        ("stop", '"end"'),
        ("num_ctx", "256"),
    }


def test_what_cannot_be_created_is_an_error_line(http: httpx.Client) -> None:
    """Under HTTP 200, as the stream has begun."""
    digest = f"sha256:{hashlib.sha256(b'no model').hexdigest()}"
    http.post(f"/api/blobs/{digest}", content=b"no model").raise_for_status()
    lines = events(http, "/api/create", {"model": "bad", "files": {"bad.gguf": digest}})
    assert "error" in lines[-1]


def test_a_model_is_pulled(http: httpx.Client, models: Path, binary: Path, tmp_path: Path) -> None:
    """Bytes done of all bytes, layer by layer; `success` last. An unknown one is an error under HTTP 200."""
    del http
    with (
        registry.running(models) as source,
        ollama_server.running(binary, tmp_path / "models") as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        name = source.name("tiny:latest").removeprefix("http://")
        lines = events(client, "/api/pull", {"model": name, "insecure": True})
        unknown = events(client, "/api/pull", {"model": name.replace("tiny", "none"), "insecure": True})
    assert lines[0] == {"status": "pulling manifest"}
    assert lines[-1] == {"status": "success"}
    layers = [line for line in lines if "digest" in line]
    assert max(line.get("completed", 0) for line in layers) == max(line["total"] for line in layers) > 280_000
    assert all(line["status"] == f"pulling {line['digest'][7:19]}" for line in layers)
    assert unknown[-1] == {"error": "pull model manifest: file does not exist"}


def test_the_servers_settings_are_its_own(binary: Path, tmp_path: Path) -> None:
    """Every variable that a pod's server gets is one that it knows, with the value that was meant."""
    settings = ServerSettings.model_validate(
        {
            "flashAttention": True,
            "kvCacheType": "q8_0",
            "loadTimeout": "20m",
            "schedSpread": True,
            "gpuOverhead": 12_345,
            "maxQueue": 77,
        }
    )
    given = server_environment(
        host="127.0.0.1:0", models=str(tmp_path), parallel=3, settings=settings, context_tokens=4321
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **given}
    with subprocess.Popen(
        [binary, "serve"], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            assert server.stderr is not None
            with closing(server.stderr) as log:
                line = next(line for line in log if "server config" in line)
        finally:
            server.terminate()
    understood = dict(re.findall(r"(OLLAMA_[A-Z_]+):(\[[^]]*\]|\S*)", line))
    assert {name: understood[name] for name in given} == {
        **given,
        "OLLAMA_HOST": "http://127.0.0.1:0",
        "OLLAMA_KEEP_ALIVE": "2562047h47m16.854775807s",
        "OLLAMA_LOAD_TIMEOUT": "20m0s",
        "OLLAMA_NOPRUNE": "true",
        "OLLAMA_NO_CLOUD": "true",
        "OLLAMA_FLASH_ATTENTION": "true",
        "OLLAMA_SCHED_SPREAD": "true",
    }
