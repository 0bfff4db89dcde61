"""How models are built, by the real server: adapters, quantisation, directories of S3, pinned bases.

S3 and the registry are stand-ins. What this cannot show: a real base with a trained adapter.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from cli import tiny_model
from runtime.command import CommandError
from runtime.ollama.building import Builder
from runtime.spec import ModelSource, ModelSpec
from tests.worker import gguf_files, ollama_server, registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.worker.registry import Registry

MODEL_LAYER = "application/vnd.ollama.image.model"

# The converter's names of the tiny model's tensors.
NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "blk.0.attn_norm.weight": "model.layers.0.input_layernorm.weight",
    "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
    "blk.0.attn_k.weight": "model.layers.0.self_attn.k_proj.weight",
    "blk.0.attn_v.weight": "model.layers.0.self_attn.v_proj.weight",
    "blk.0.attn_output.weight": "model.layers.0.self_attn.o_proj.weight",
    "blk.0.ffn_norm.weight": "model.layers.0.post_attention_layernorm.weight",
    "blk.0.ffn_gate.weight": "model.layers.0.mlp.gate_proj.weight",
    "blk.0.ffn_up.weight": "model.layers.0.mlp.up_proj.weight",
    "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class Server:
    """A real server, and what the builder makes of sources there."""

    def __init__(self, url: str, models: Path) -> None:
        self.url, self.models = url, models

    def build(self, **source: object) -> str:
        """Builds, and returns the model's name."""
        spec = ModelSpec(source=ModelSource.model_validate(source))

        async def make() -> None:
            async with httpx.AsyncClient(base_url=self.url, timeout=60) as server:
                await Builder(server=server, models=self.models, stall_seconds=45).make(spec)

        asyncio.run(make())
        return spec.reference

    def refused(self, **source: object) -> tuple[int, str]:
        """The exit code and the sentence of a build that fails."""
        with pytest.raises(CommandError) as caught:
            self.build(**source)
        return caught.value.exit_code, str(caught.value)

    def show(self, name: str) -> dict[str, Any]:
        """What the server says of a model."""
        return httpx.post(f"{self.url}/api/show", json={"model": name}, timeout=60).raise_for_status().json()

    def answer(self, name: str) -> str:
        """The model's answer to one question."""
        options = {"temperature": 0, "num_ctx": 256, "num_predict": 16, "num_thread": 1}
        question = {"model": name, "prompt": "Say it.", "raw": True, "stream": False, "options": options}
        answered = httpx.post(f"{self.url}/api/generate", json=question, timeout=120).raise_for_status()
        return answered.json()["response"]

    def layer(self, name: str) -> Path:
        """The file of the model's weights."""
        manifest = self.models / "manifests" / "registry.ollama.ai" / "library" / name.replace(":", "/")
        layers = json.loads(manifest.read_text())["layers"]
        (digest,) = [layer["digest"] for layer in layers if layer["mediaType"] == MODEL_LAYER]
        return self.models / "blobs" / digest.replace(":", "-")


@pytest.fixture(scope="module")
def server(ollama_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An empty server."""
    models = tmp_path_factory.mktemp("building") / "models"
    with ollama_server.running(ollama_binary, models) as url:
        yield Server(url, models)


@pytest.fixture
def bucket(  # noqa: ANN201  boto3 makes its type as it runs
    moto: str, tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The bucket `weights`, with the tiny model, an adapter to it, and both in a directory each."""
    for name, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    made = boto3.resource("s3").Bucket("weights")
    made.create()
    gguf_files.write_adapter(tmp_path / "adapter.gguf")
    gguf_files.write_half(tmp_path / "half.gguf", tiny_gguf)
    made.upload_file(str(tmp_path / "half.gguf"), "half/weights.gguf")
    for key in ("tiny.gguf", "directory/tiny.gguf"):
        made.upload_file(str(tiny_gguf), key)
    for key in ("adapter.gguf", "adapter/adapter.gguf"):
        made.upload_file(str(tmp_path / "adapter.gguf"), key)
    for key in ("directory/README.md", "empty/README.md"):
        made.put_object(Key=key, Body=b"of no use")
    return made


@pytest.fixture
def models(ollama_binary: Path, tiny_gguf: Path, tmp_path: Path) -> Iterator[Registry]:
    """A registry with `team/tiny:v1.0_x`."""
    gguf_files.write_half(tmp_path / "half.gguf", tiny_gguf)
    with ollama_server.running(ollama_binary, tmp_path / "served") as url:
        ollama_server.create(url, "team/tiny:v1.0_x", tmp_path / "half.gguf")
    with registry.running(tmp_path / "served") as serving:
        yield serving


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    ("base", "adapter"),
    [("tiny.gguf", "adapter.gguf"), ("directory/", "adapter/")],
    ids=["objects", "directories"],
)
def test_an_adapter_changes_the_answer(server: Server, base: str, adapter: str) -> None:
    """The inputs name both in S3; the model shows its adapter, runs with it, and says something else."""
    plain = server.answer(server.build(**{"from": "s3://weights/tiny.gguf"}))
    name = server.build(
        modelfile="FROM {{ inputs.base }}\nADAPTER {{ inputs.adapter }}\n",
        inputs={"base": f"s3://weights/{base}", "adapter": f"s3://weights/{adapter}"},
    )
    assert "\nADAPTER " in server.show(name)["modelfile"]
    assert server.answer(name) != plain


@pytest.mark.usefixtures("bucket")
def test_weights_are_quantised(server: Server, tiny_gguf: Path) -> None:
    """32 bits become 8 (and a scale for 32 of them), and the model still answers."""
    name = server.build(**{"from": "s3://weights/half/"}, quantize="q8_0")
    assert server.show(name)["details"]["quantization_level"] == "Q8_0"
    assert server.layer(name).stat().st_size < tiny_gguf.stat().st_size / 2
    assert server.answer(name)


@pytest.mark.usefixtures("bucket")
def test_what_cannot_be_quantised_is_final(server: Server) -> None:
    """What is quantised already; and a GGUF of type 0, which means 32 bits, since 0.24.0 reads it as none."""
    name = server.build(**{"from": "s3://weights/half/"}, quantize="q8_0")
    sentence = (
        "Ollama cannot build the model: quantization is only supported for F16, BF16 and F32 models; name "
        "weights of 16 bits: a GGUF of 32 bits counts as none of these where its general.file_type is 0"
    )
    for base in (server.layer(name), "s3://weights/tiny.gguf"):
        assert server.refused(modelfile=f"FROM {base}", quantize="q4_K_M") == (os.EX_DATAERR, sentence)


def test_a_pulled_model_is_quantised(server: Server, models: Registry) -> None:
    """From a namespace and a tag of another registry, by its name alone."""
    source = f"http://127.0.0.1:{models.server_port}/team/tiny:v1.0_x"
    name = server.build(**{"from": source}, quantize="q8_0")
    assert name == "built:latest"
    assert server.show(name)["details"]["quantization_level"] == "Q8_0"


@pytest.mark.parametrize("kind", ["from", "modelfile"])
def test_a_pin_holds_for_what_is_pulled(server: Server, models: Registry, kind: str) -> None:
    """The manifest's digest, of a model and of a base alike; another one is an error that names both."""
    reference = f"127.0.0.1:{models.server_port}/team/tiny:v1.0_x"
    source = {"from": f"http://{reference}"} if kind == "from" else {"modelfile": f"FROM http://{reference}"}
    manifest = models.manifest("team", "tiny", "v1.0_x")
    assert manifest is not None
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    server.build(**source, digest=digest)
    other = f"sha256:{'0' * 64}"
    code, sentence = server.refused(**source, digest=other)
    assert code == os.EX_DATAERR
    assert reference in sentence
    assert other in sentence
    assert digest in sentence


def test_a_directory_of_safetensors_becomes_a_model(server: Server, bucket: Any) -> None:  # noqa: ANN401  boto3's
    """Weights, configuration and tokenizer reach the converter, whatever else lies there does not."""
    for name, content in safetensors().items():
        bucket.put_object(Key=f"safe/{name}", Body=content)
    bucket.put_object(Key="safe/pytorch_model.bin", Body=b"the same again")
    shown = server.show(server.build(**{"from": "s3://weights/safe/"}))
    details = {name: shown["details"][name] for name in ("format", "family", "quantization_level")}
    assert details == {"format": "gguf", "family": "llama", "quantization_level": "F16"}
    assert shown["model_info"]["llama.feed_forward_length"] == 320


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("directory", ["empty", "nothing"])
def test_a_directory_without_a_model_is_final(server: Server, directory: str) -> None:
    """Exit code 65, and what it should hold."""
    url = f"s3://weights/{directory}/"
    sentence = (
        f"{url} holds neither *.safetensors nor *.gguf: give a directory that does, with a / at its end"
    )
    assert server.refused(**{"from": url}) == (os.EX_DATAERR, sentence)


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_final(server: Server) -> None:
    """Exit code 65."""
    assert server.refused(**{"from": "s3://nowhere/x/"}) == (
        os.EX_DATAERR,
        "s3://nowhere/x/: there is no such bucket",
    )


def safetensors() -> dict[str, bytes]:
    """The tiny model as Hugging Face's tools would write it, with a tokenizer of single letters."""
    header: dict[str, object] = {}
    body = b""
    for name, tensor in tiny_model.tensors("answers").items():
        content = tensor.tobytes()
        header[NAMES[name]] = {
            "dtype": "F32",
            "shape": tensor.shape,
            "data_offsets": [len(body), len(body) + len(content)],
        }
        body += content
    head = json.dumps(header).encode()
    vocabulary = len(tiny_model.tensors("answers")["output.weight"])
    return {
        "model.safetensors": len(head).to_bytes(8, "little") + head + body,
        "config.json": json.dumps(
            {
                "architectures": ["LlamaForCausalLM"],
                "vocab_size": vocabulary,
                "hidden_size": tiny_model.WIDTH,
                "intermediate_size": 320,
                "num_hidden_layers": 1,
                "num_attention_heads": tiny_model.HEADS,
                "num_key_value_heads": tiny_model.HEADS,
                "max_position_embeddings": tiny_model.CONTEXT_TOKENS,
                "rms_norm_eps": 1e-12,
                "rope_theta": tiny_model.ROPE_BASE,
            }
        ).encode(),
        "tokenizer.json": json.dumps(
            {
                "model": {
                    "type": "BPE",
                    "vocab": {chr(0x4E00 + number): number for number in range(vocabulary)},
                    "merges": [],
                }
            }
        ).encode(),
    }
