"""Where a model comes from: what a stack file may say, what its Job may read, what its hash covers."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.graph import ROOT, evaluate
from components import modelfiles
from components.settings import SettingsError, parse
from runtime.ollama.model_name import ModelName
from runtime.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGEST = f"sha256:{'a' * 64}"
FILLED = "FROM s3://weights/{{ inputs.file }}\nADAPTER {{ inputs.adapter }}\nSYSTEM Be {{ inputs.manner }}.\n"
INPUTS = {"file": "tiny.gguf", "adapter": "s3://weights/lora/", "manner": "brief"}


def _source(**source: object) -> ModelSource:
    return ModelSource.model_validate(source)


def _hash(**source: object) -> str:
    return ModelSpec(source=_source(**source)).hash


def _parsed(**model: object) -> ModelSpec:
    (parsed,) = parse({"image": "i:1", "models": [{"name": "a", **model}]}).models
    return parsed.spec


def _problems(**model: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        _parsed(**model)
    return [problem.replace("models[0].", "") for problem in caught.value.problems]


def test_models_without_the_newer_keys_keep_their_hashes() -> None:
    """These are of the time before inputs, digest and quantize: another would make every model anew."""
    assert ModelSpec(source=_source(**{"from": "tiny"}), server_version="0.24.0").hash == (
        "a73487da085676b06040e4ee13f91e90ac658193b5dc0622f87d408ab1248175"
    )


def test_the_hash_covers_all_that_makes_the_model() -> None:
    """Each of these is another model; the order in which inputs are written is not."""
    hashes = [
        _hash(**{"from": "tiny"}),
        _hash(**{"from": "tiny"}, digest=DIGEST),
        _hash(**{"from": "tiny"}, quantize="q8_0"),
        _hash(**{"from": "tiny"}, quantize="q4_K_M"),
        _hash(modelfile=FILLED, inputs=INPUTS),
        _hash(modelfile=FILLED, inputs=INPUTS | {"manner": "kind"}),
        _hash(modelfile=f"{FILLED}#", inputs=INPUTS),
    ]
    assert len({*hashes}) == len(hashes)
    assert _hash(modelfile=FILLED, inputs=dict(reversed(INPUTS.items()))) == hashes[4]


@given(
    inputs=st.dictionaries(
        st.text(max_size=3),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
            max_leaves=4,
        ),
        max_size=3,
    )
)
def test_inputs_survive_the_way_to_the_job(inputs: dict[str, Any]) -> None:
    """What the program writes is what the Job reads, types included."""
    spec = ModelSpec(source=_source(modelfile="FROM a", inputs=inputs, digest=DIGEST, quantize="q8_0"))
    again = ModelSpec.model_validate_json(spec.to_json())
    assert (again, again.hash) == (spec, spec.hash)
    assert json.dumps(dict(again.source.inputs)) == json.dumps(inputs)


@pytest.mark.parametrize(
    ("source", "pull_name", "pulled", "objects"),
    [
        ({"from": "a:b", "quantize": "q8_0"}, None, "a:b", ()),
        ({"from": "http://h:1/a/b", "quantize": "q8_0"}, None, "h:1/a/b", ()),
        ({"from": "a", "digest": DIGEST}, "a", "a", ()),
        ({"modelfile": "FROM http://h:1/a/b", "digest": DIGEST}, None, "h:1/a/b", ()),
        ({"from": "s3://w/d/"}, None, None, ("s3://w/d/",)),
        (
            {"modelfile": FILLED, "inputs": INPUTS},
            None,
            None,
            ("s3://weights/tiny.gguf", "s3://weights/lora/"),
        ),
        ({"modelfile": "FROM a\nADAPTER s3://w/x"}, None, "a", ("s3://w/x",)),
        ({"modelfile": "FROM s3://w/x\nFROM s3://w/y\nFROM /z"}, None, None, ("s3://w/x", "s3://w/y")),
    ],
)
def test_a_source_says_what_is_pulled_and_what_is_read(
    source: dict[str, object], pull_name: str | None, pulled: str | None, objects: tuple[str, ...]
) -> None:
    """The name of the model, that of what a registry is asked for, with pin and scheme, and what S3 is."""
    made = _source(**source)
    base = made.pulled
    assert (made.pull_name, base and base.pull_name, made.s3_objects) == (pull_name, pulled, objects)
    if base is not None:
        assert (base.digest, base.plain_http) == (made.digest, "http://" in str(source))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("llama3.2", ("registry.ollama.ai", "library", "llama3.2", "latest")),
        ("team/tiny:v1.0_x", ("registry.ollama.ai", "team", "tiny", "v1.0_x")),
        ("10.0.0.5:5000/a/b:c", ("10.0.0.5:5000", "a", "b", "c")),
        (
            "hf.co/bartowski/Llama-3.2-1B-Instruct_v1.0-GGUF:Q4_K_M",
            ("hf.co", "bartowski", "Llama-3.2-1B-Instruct_v1.0-GGUF", "Q4_K_M"),
        ),
        ("huggingface.co/01-ai/Yi", ("huggingface.co", "01-ai", "Yi", "latest")),
    ],
)
def test_names_keep_their_case_and_their_dots(text: str, name: tuple[str, ...]) -> None:
    """They are parts of a URL, and of the manifest's path."""
    assert ModelName.parse(text) == name
    assert _source(**{"from": text}).pull_name == text


@pytest.mark.parametrize(
    "text", ["hf.co/repository", "a.b/c", "-a", "a:", "a/b/c/d", "a@sha256:0", "a:8b-cloud"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    """As by Ollama; a namespace has no dot, so `hf.co/repository` lacks its user."""
    (problem,) = _problems(**{"from": text})
    assert problem.startswith(f'from: given "{text}": ')


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (
            {"modelfile": "FROM a", "inputs": {"x": 1}},
            "inputs: given {\"x\": 1}: the input 'x' is given and not used",
        ),
        ({"modelfile": "FROM {{ inputs.x }}"}, "inputs: given {}: `inputs.x` is asked for and not given"),
        (
            {"modelfile": "FROM {{ inputs.x }}", "inputs": {"x": "s3://B/k"}},
            'inputs: given {"x": "s3://B/k"}: Modelfile, line 1: \'s3://B/k\' names no object of S3',
        ),
        (
            {"modelfile": "FROM a\nPARAMETER seed {{ inputs.x }}", "inputs": {"x": "one"}},
            'inputs: given {"x": "one"}: Modelfile, line 2: parameter seed takes one integer, not \'one\'',
        ),
        (
            {"from": "a", "inputs": {"x": 1}},
            'inputs: given {"x": 1}: inputs fill the placeholders of a `modelfile`',
        ),
        ({"modelfile": "FROM a\nSYSTEM {{ inputs.x | y }}"}, 'modelfile: given "FROM a'),
        ({"modelfile": "FROM {{ inputs.x }}\nCOPY x y", "inputs": {"x": "a"}}, 'modelfile: given "FROM {{'),
        ({"from": "a", "digest": "sha256:1"}, 'digest: given "sha256:1": must be sha256: and 64 hex digits'),
        (
            {"from": "s3://w/k", "digest": DIGEST},
            f'digest: given "{DIGEST[:59]} ...: a digest pins what is pulled',
        ),
        (
            {"from": "a", "quantize": "Q8_0"},
            "quantize: given \"Q8_0\": input should be 'q4_K_S', 'q4_K_M' or 'q8_0'",
        ),
        ({"from": "s3://w/a.safetensors"}, 'from: given "s3://w/a.safetensors": '),
        ({"from": "s3://w/a-00001-of-00002.gguf"}, 'from: given "s3://w/a-00001-of-00002.gguf": '),
        ({"modelfile": "./no/such/file"}, 'modelfile: given "./no/such/file": '),
        ({"modelfile": "./components"}, 'modelfile: given "./components": '),
        ({"modelfile": f"FROM a\nSYSTEM {'x' * 2**18}"}, 'modelfile: given "FROM a'),
        (
            {"modelfile": "FROM a\nSYSTEM {{ inputs.x }}", "inputs": {"x": "x" * 2**18}},
            'inputs: given {"x": "xxxx',
        ),
    ],
)
def test_what_no_job_could_make_is_a_problem_of_the_config(model: Mapping[str, object], problem: str) -> None:
    """One sentence with the key, the value and what would be right, before anything is deployed."""
    (found,) = _problems(**model)
    assert found.startswith(problem)


@given(name=st.from_regex(r"[a-z]{1,5}", fullmatch=True), value=st.text(st.characters(codec="utf-8")))
def test_inputs_are_asked_for_and_given_or_refused(name: str, value: str) -> None:
    """Given and used is right, whatever the value is; else the config is wrong."""
    text = f"FROM a\nSYSTEM {{{{ inputs.{name} }}}}"
    assert _parsed(modelfile=text, inputs={name: value}).source.recipe.texts["system"] == value
    assert len(_problems(modelfile=text)) == 1
    assert len(_problems(modelfile="FROM a", inputs={name: value})) == 1


def test_a_path_is_read_when_the_stack_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line that begins with ./, ../ or / is a file of the project, whose content makes the hash."""
    monkeypatch.setattr(modelfiles, "PROJECT", tmp_path / "project")
    (tmp_path / "project" / "files").mkdir(parents=True)
    file = tmp_path / "project" / "files" / "x"
    paths = ("./files/x", "../project/files/x", str(file), " ./files/x\n")
    for text in ("FROM one\r\nSYSTEM x", "FROM two"):
        file.write_bytes(text.encode())
        specs = [_parsed(modelfile=path) for path in paths]
        assert {spec.hash for spec in specs} == {_hash(modelfile=text)}
        assert {spec.source.modelfile for spec in specs} == {text}


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_a_file_is_text_in_the_encodings_that_ollama_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mark: bytes, encoding: str
) -> None:
    """UTF-8, or what its first bytes say; other bytes are refused, not replaced."""
    monkeypatch.setattr(modelfiles, "PROJECT", tmp_path)
    (tmp_path / "x").write_bytes(mark + "FROM a\nSYSTEM ü".encode(encoding))
    assert _parsed(modelfile="./x").source.modelfile == "FROM a\nSYSTEM ü"
    (tmp_path / "y").write_bytes(b"FROM a\nSYSTEM \xfc")
    assert _problems(modelfile="./y") == [
        f'modelfile: given "./y": {tmp_path}/y is no text in UTF-8: byte 14 is wrong'
    ]


def test_a_job_may_read_its_objects_and_list_its_directories_and_no_more() -> None:
    """A star in a key is no wildcard; a directory is listed by its own prefix only."""
    inputs = {"file": "a*b?.gguf", "adapter": "s3://adapters/a$b/c/", "manner": "brief"}
    models = [{"name": "a", "modelfile": FILLED, "inputs": inputs}]
    graph = evaluate(ROOT / "Pulumi.local.yaml", {"models": models})
    policies = [json.loads(each.inputs["policy"]) for each in graph.of_type("aws:iam/rolePolicy:RolePolicy")]
    statements = [
        statement
        for policy in policies
        for statement in cast("list[dict[str, Any]]", policy["Statement"])
        if "weights" in str(statement["Resource"]) or "adapters" in str(statement["Resource"])
    ]
    assert statements == [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": ["arn:aws:s3:::weights/a${*}b${?}.gguf", "arn:aws:s3:::adapters/a${$}b/c/*"],
        },
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": ["arn:aws:s3:::adapters"],
            "Condition": {"StringEquals": {"s3:prefix": "a${$}b/c/"}},
        },
    ]
