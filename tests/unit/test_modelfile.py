"""What a Modelfile's text means, and what is said when it means nothing."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runtime.ollama import commands, modelfile, weights
from runtime.ollama.modelfile import Message, Modelfile, ModelfileError
from runtime.template import TemplateError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from runtime.ollama.parameters import Parameter

EXAMPLE = '''\
# A comment, and a blank line.

from llama3.2:1b
  PARAMETER temperature 0.25
parameter num_ctx 4096
PARAMETER use_mmap false
PARAMETER stop <|end|>
PARAMETER stop "  two blanks before"
PARAMETER temperature 0.5
TEMPLATE """{{ if .System }}{{ .System }}
{{ end }}{{ .Prompt }} # no comment"""
SYSTEM "You answer with JSON: {"a": 1}"
LICENSE first
LICENSE """
second, "quoted"
"""
MESSAGE user Hello: you
MESSAGE assistant """Hi
there"""
ADAPTER s3://bucket/adapter.gguf
requires v0.14.0
RENDERER qwen3-coder
PARSER   "qwen3-coder"
'''


def test_every_supported_command_has_its_place_in_the_create_request() -> None:
    """The request says exactly what the text says; later values win, stops, licenses and messages add up."""
    request = modelfile.parse(EXAMPLE).create_request("m", {"from": "llama3.2:1b"})
    assert json.loads(json.dumps(request)) == {
        "model": "m",
        "from": "llama3.2:1b",
        "requires": "0.14.0",
        "renderer": "qwen3-coder",
        "parser": "qwen3-coder",
        "template": "{{ if .System }}{{ .System }}\n{{ end }}{{ .Prompt }} # no comment",
        "system": 'You answer with JSON: {"a": 1}',
        "license": ["first", '\nsecond, "quoted"\n'],
        "parameters": {
            "temperature": 0.5,
            "num_ctx": 4096,
            "use_mmap": False,
            "stop": ["<|end|>", "  two blanks before"],
        },
        "messages": [
            {"role": "user", "content": "Hello: you"},
            {"role": "assistant", "content": "Hi\nthere"},
        ],
    }


def test_what_is_not_said_is_not_sent() -> None:
    """A bare FROM asks for nothing but the base."""
    assert modelfile.parse("FROM a").create_request("m", {"files": {"x": "sha256:0"}}) == {
        "model": "m",
        "files": {"x": "sha256:0"},
    }


@pytest.mark.parametrize(
    ("base", "from_file"),
    [
        ("llama3.2", False),
        ("library/llama3.2:1b-instruct", False),
        ("http://10.0.0.5:5000/library/tiny:latest", False),
        ("s3://bucket/a folder/model.gguf", True),
        ("s3://bucket/a folder/", True),
        ("hf.co/bartowski/Llama-3.2-1B-Instruct_v1.0-GGUF:Q4_K_M", False),
        ("/data/model.gguf", True),
    ],
)
def test_from_takes_names_objects_and_paths(base: str, *, from_file: bool) -> None:
    """The base stays as written and says whether it is a file."""
    parsed = modelfile.parse(f'FROM "{base}"\r\n')
    assert (parsed.base, parsed.from_file) == (base, from_file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("num_gpu -1", -1),
        ("seed +7", 7),
        ("top_p .5", 0.5),
        ("temperature 1e-2", 0.01),
        ("temperature 0.123456789", 0.12345679),
        ("top_p 1e-46", 0.0),
        ("use_mmap T", True),
        ("stop true", ("true",)),
        ('stop "a "quoted" word"', ('a "quoted" word',)),
        ("stop  two blanks", ("two blanks",)),
    ],
)
def test_parameters_have_the_type_that_the_server_expects(text: str, value: Parameter) -> None:
    """Numbers, booleans and the list of stops are typed; the server refuses texts in their place."""
    (parsed,) = modelfile.parse(f"FROM a\nPARAMETER {text}\n").parameters.values()
    assert (parsed, type(parsed)) == (value, type(value))


SUPPORTED = f"is no command or lacks a value: take {', '.join(commands.COMMANDS)}"

SPLIT = (
    "is a part of a split GGUF, of which Ollama loads the last part only: join the parts "
    "(`llama-gguf-split --merge first-part whole.gguf`) and name the whole"
)

FILES = ", or s3://bucket/key.gguf, s3://bucket/directory/, or the absolute path of a GGUF file"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "there is no FROM in it: say what the model is built from"),
        ("FROM a\nDRAFT b\n", 2, f"'DRAFT' {SUPPORTED}"),
        ("FROM a\n\n# c\nRENDERER", 4, f"'RENDERER' {SUPPORTED}"),
        ("FROM a\r\nPARSER", 2, f"'PARSER' {SUPPORTED}"),
        ("FROM a\n REQUIRES new", 2, "'new' is no version of Ollama: write it like 0.14.0"),
        (
            "FROM a\nADAPTER b",
            2,
            f"'b' is no place of an adapter: take {FILES.removeprefix(', or ')}",
        ),
        ("FROM a\nADAPTER /b\nADAPTER /c", 3, "a second ADAPTER, after `ADAPTER /b`: Ollama takes one"),
        (
            "FROM s3://b/model-00001-of-00002.gguf",
            1,
            f"'s3://b/model-00001-of-00002.gguf' {SPLIT}",
        ),
        (
            "FROM s3://b/model.safetensors",
            1,
            "'s3://b/model.safetensors' is one file of several: name its directory, with a / at the end",
        ),
        (
            "FROM s3://B/x",
            1,
            "'s3://B/x' names no object of S3: write s3://bucket/key.gguf or s3://bucket/directory/",
        ),
        (
            "FROM s3://b/",
            1,
            "'s3://b/' names no object of S3: write s3://bucket/key.gguf or s3://bucket/directory/",
        ),
        (
            "FROM s3://b/d/\nFROM /b",
            2,
            "a second FROM, after `FROM s3://b/d/`: only GGUF files can be several",
        ),
        (
            "FROM a\nPARAMETER mirostat 1",
            2,
            "parameter mirostat is retired, and Ollama ignores it: remove the line",
        ),
        (
            "FROM a\nPARAMETER  stop x",
            2,
            "'PARAMETER  stop x' is not complete: write it like `PARAMETER stop </s>`",
        ),
        ("FROM\na", 1, f"'FROM' {SUPPORTED}"),
        ("FROM a\nFROM b", 2, "a second FROM, after `FROM a`: only GGUF files can be several"),
        (
            "FROM ./model.gguf",
            1,
            f"'./model.gguf' is no model name: write [host[:port]/][namespace/]model[:tag]{FILES}",
        ),
        (
            "FROM host:99999/a/b",
            1,
            f"'host:99999/a/b' has '99999' for a port: write [host[:port]/][namespace/]model[:tag]{FILES}",
        ),
        (
            "FROM big:120b-cloud",
            1,
            f"'big:120b-cloud' asks for a hosted model by its tag: name one that can be downloaded{FILES}",
        ),
        ("FROM a\nMESSAGE tool x", 2, "'tool' is no role: take system, user, assistant"),
        ("FROM a\nMESSAGE user\n", 2, "'MESSAGE user' is not complete: write it like `MESSAGE user Hello`"),
        (
            "FROM a\nPARAMETER stop",
            2,
            "'PARAMETER stop' is not complete: write it like `PARAMETER stop </s>`",
        ),
        ("FROM a\nPARAMETER top_k 1.5", 2, "parameter top_k takes one integer, not '1.5'"),
        (
            "FROM a\nPARAMETER seed 9223372036854775808",
            2,
            "parameter seed takes one integer, not '9223372036854775808'",
        ),
        ("FROM a\nPARAMETER top_p 1e39", 2, "parameter top_p takes one number, not '1e39'"),
        ("FROM a\nPARAMETER min_p nan", 2, "parameter min_p takes one number, not 'nan'"),
        ("FROM a\nPARAMETER use_mmap yes", 2, "parameter use_mmap takes one boolean, not 'yes'"),
        (
            'FROM a\nSYSTEM """never\nclosed"\n',
            2,
            "the quote that opens after SYSTEM is closed at no line's end",
        ),
    ],
)
def test_an_error_names_the_line_what_is_there_and_what_would_be_right(
    text: str, line: int, problem: str
) -> None:
    """One sentence for each mistake, with the number of the line that it starts on."""
    with pytest.raises(ModelfileError) as caught:
        modelfile.parse(text)
    assert (caught.value.line, str(caught.value)) == (line, f"Modelfile, line {line}: {problem}")


def test_a_parameter_that_the_server_does_not_know_is_an_error_with_the_known_ones() -> None:
    """The author learns what there is."""
    with pytest.raises(
        ModelfileError, match=r"line 2: .* no parameter 'top_q': take one of .* num_ctx, .* use_mmap$"
    ):
        modelfile.parse("FROM a\nPARAMETER top_q 1")


texts = st.text(st.one_of(st.sampled_from('"\r\n #\t{}'), st.characters(codec="utf-8")))


def _ends_early(value: str, quote: str) -> bool:
    """Whether a line of the quoted value would close it: the grammar has no escapes."""
    text = quote + value
    ends = (at for at, character in enumerate(text) if character in "\r\n")
    return any(
        len(head) >= 2 * len(quote) and head.endswith(quote) for head in (text[:at].strip() for at in ends)
    )


@given(value=texts, role=st.sampled_from(commands.ROLES))
def test_triple_quotes_carry_every_value_that_no_line_of_it_closes(value: str, role: str) -> None:
    """Quotes, line ends, blanks, braces and every other character come out as they went in."""
    assume(not _ends_early(value, '"""'))
    quoted = f'"""{value}"""'
    text = f"FROM a\nSYSTEM {quoted}\nPARAMETER stop {quoted}\nMESSAGE {role} {quoted}\nLICENSE {quoted}"
    assert modelfile.parse(text) == Modelfile(
        bases=("a",),
        adapter=None,
        texts={"system": value},
        licenses=(value,),
        parameters={"stop": (value,)},
        messages=(Message(role, value),),
    )


@given(value=texts)
def test_single_quotes_carry_every_value_that_does_not_look_like_triple_ones(value: str) -> None:
    """The same for one quote at each side, with quotes inside."""
    assume(not f'"{value}"'.startswith('"""') and not _ends_early(value, '"'))
    assert modelfile.parse(f'TEMPLATE "{value}"\nFROM a').texts["template"] == value


@given(value=texts)
def test_a_bare_value_loses_only_the_blanks_around_it(value: str) -> None:
    """Without quotes a value is its line."""
    assume(not value.strip().startswith('"') and not set("\r\n") & set(value))
    assert modelfile.parse(f"FROM a\nSYSTEM {value}\n").texts["system"] == value.strip()


names = st.sampled_from([*commands.COMMANDS, "from", "DRAFT"])
fragments = st.sampled_from(["stop", "seed", "user", "a", "1", "-", "s3://", "/", "#", "\ufeff", "\x00"])
separators = st.sampled_from([" ", "\t", "\n", "\r\n", '"', '"""'])


@given(text=st.lists(st.one_of(names, fragments, separators, st.text(max_size=3))).map("".join))
def test_any_text_is_parsed_or_refused_with_the_one_error(text: str) -> None:
    """Nothing but ModelfileError comes out of text that makes no sense."""
    with contextlib.suppress(ModelfileError):
        modelfile.parse(text)


FILLED = """\
FROM {{ inputs.base }}
SYSTEM Be {{ inputs.manner }}.
MESSAGE user \"\"\"{{ inputs.question }}
{{ inputs.more.0 }}\"\"\"
PARAMETER stop {{ inputs.stop }}
PARAMETER num_ctx {{ inputs.tokens }}
PARAMETER temperature {{ inputs.heat }}
PARAMETER use_mmap {{ inputs.map }}
TEMPLATE {{ if .System }}{{ .System }}{{ end }}{{ inputs.frame }}{{ .Prompt }}
LICENSE {{ inputs.terms }}
"""


@given(texts=st.lists(texts, min_size=6, max_size=6))
def test_whatever_a_value_says_it_stays_a_value(texts: list[str]) -> None:
    """Quotes, line ends, commands and placeholders in it are text; numbers and booleans keep their kind."""
    manner, question, more, stop, frame, terms = texts
    frame = frame.replace("{", "(")
    inputs = {
        "base": "s3://weights/tiny.gguf",
        "manner": manner,
        "question": question,
        "more": [more],
        "stop": stop,
        "frame": frame,
        "tokens": 512,
        "heat": 0.5,
        "map": False,
        "terms": terms,
    }
    assert modelfile.parse(FILLED, inputs) == Modelfile(
        bases=("s3://weights/tiny.gguf",),
        adapter=None,
        texts={
            "system": f"Be {manner}.",
            "template": "{{ if .System }}{{ .System }}{{ end }}" + frame + "{{ .Prompt }}",
        },
        licenses=(terms,),
        parameters={"num_ctx": 512, "temperature": 0.5, "use_mmap": False, "stop": (stop,)},
        messages=(Message("user", f"{question}\n{more}"),),
    )


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ inputs.a }}{{ .Prompt }}", "{{ .System }}"),
        ("{{ inputs.a }}{{ .Prompt }}", "{{"),
        ("{{{ inputs.a }}{{ .Prompt }}", "{ .System }}"),
        ("{{ inputs.a }}{{ .Prompt }}", "{"),
        ('{{ if eq .Role "{{ inputs.a }}" }}{{ end }}', "user"),
        ('{{ if eq "}}" "{{ inputs.a }}" }}{{ end }}', "user"),
    ],
)
def test_an_input_is_never_code_of_a_template(template: str, value: str) -> None:
    """What a value would open, and every place inside an action, are refused where the TEMPLATE stands."""
    with pytest.raises(ModelfileError, match=r"line 2: an input would become code of the TEMPLATE"):
        modelfile.parse(f"FROM a\nTEMPLATE {template}", {"a": value})


@pytest.mark.parametrize(
    ("text", "inputs", "problem"),
    [
        ("FROM {{ inputs.a }}", {}, "`inputs.a` is asked for and not given"),
        ("FROM a", {"a": 1}, "the input 'a' is given and not used"),
        ("FROM a\n# {{ inputs.a }}", {"a": 1}, "the input 'a' is given and not used"),
        ("FROM a\nSYSTEM {{ inputs.a | upper }}", {"a": 1}, "Modelfile, line 2: a placeholder is "),
        ("FROM {{ inputs.a }}", {"a": "x\nSYSTEM y"}, "Modelfile, line 1: 'x\\nSYSTEM y' is no model name"),
        ("FROM a\nPARAMETER top_k {{ inputs.a }}", {"a": 1.0}, "line 2: parameter top_k takes one integer"),
        ("FROM a\nPARAMETER {{ inputs.a }} 1", {"a": "top_k"}, "line 2: 'PARAMETER {{ inputs.a }} 1' is not"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(text: str, inputs: dict[str, JsonValue], problem: str) -> None:
    """Missing, unused and wrong ones, each in one sentence."""
    with pytest.raises((ModelfileError, TemplateError)) as caught:
        modelfile.parse(text, inputs)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        (
            "README config.json consolidated.safetensors model-1.safetensors model-2.safetensors x/y/z.json",
            "model-1.safetensors model-2.safetensors config.json",
        ),
        (
            "model.safetensors sub/params.json sub/model.safetensors tokenizer.json tokenizer.model",
            "model.safetensors tokenizer.json sub/params.json tokenizer.model",
        ),
        (
            "consolidated.safetensors params.json x/tokenizer.model",
            "consolidated.safetensors params.json x/tokenizer.model",
        ),
        ("adapter_config.json adapter_model.safetensors", "adapter_model.safetensors adapter_config.json"),
        ("config.json mmproj.gguf model.gguf", "mmproj.gguf model.gguf"),
    ],
)
def test_a_directory_gives_what_a_converter_reads(keys: str, chosen: str) -> None:
    """Weights of one kind, with safetensors their configuration and tokenizer too, and nothing besides."""
    assert weights.of_directory(keys.split()) == tuple(chosen.split())


@pytest.mark.parametrize(
    "keys", ["", "pytorch_model.bin config.json", "a-00001-of-00002.gguf", "x/model.gguf"]
)
def test_a_directory_without_weights_that_ollama_takes_is_refused(keys: str) -> None:
    """Its converter reads neither PyTorch files nor split GGUF."""
    with pytest.raises(ValueError, match=r"^holds "):
        weights.of_directory(keys.split())
