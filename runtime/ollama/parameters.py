"""The parameters of a Modelfile: their names, and their values from text."""

from __future__ import annotations

import re
import struct

from runtime.version import OLLAMA_VERSION

Scalar = int | float | bool
Parameter = Scalar | tuple[str, ...]

LIST = "stop"
"""The one parameter that may be given several times; its values are texts."""

# The rest of `api.Options` of the pinned server.
_KINDS = {
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"), "integer"),
    **dict.fromkeys(("num_keep", "num_predict", "seed", "top_k", "repeat_last_n"), "integer"),
    **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p"), "number"),
    **dict.fromkeys(("repeat_penalty", "presence_penalty", "frequency_penalty"), "number"),
    "use_mmap": "boolean",
}

# `deprecatedParameters` of its parser, which drops them with a warning.
_RETIRED = frozenset(
    [
        *("penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock"),
        *("mirostat", "mirostat_tau", "mirostat_eta"),
    ]
)

# What Go's strconv takes for each kind.
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INT64 = range(-(2**63), 2**63)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FLOAT32_MAX = (2 - 2**-23) * 2.0**127
_FLOAT32_DIGITS = range(1, 10)


def parse_scalar(name: str, text: str) -> Scalar:
    """The value of a parameter other than `stop`.

    Raises:
        ValueError: the server knows no such parameter, or the text is no value of its kind.
    """
    kind = _KINDS.get(name)
    match kind:
        case None if name in _RETIRED:
            msg = f"parameter {name} is retired, and Ollama ignores it: remove the line"
        case None:
            known = ", ".join(sorted((*_KINDS, LIST)))
            msg = f"Ollama {OLLAMA_VERSION} knows no parameter {name!r:.60}: take one of {known}"
        case "boolean" if text in _BOOLEANS:
            return _BOOLEANS[text]
        case "integer" if _INTEGER.fullmatch(text) and int(text) in _INT64:
            return int(text)
        case "number" if _NUMBER.fullmatch(text) and abs(float(text)) <= _FLOAT32_MAX:
            return _float32(float(text))
        case _:
            msg = f"parameter {name} takes one {kind}, not {text!r:.60}"
    raise ValueError(msg)


def _float32(value: float) -> float:
    """The shortest number that is the same in 32 bits, since that is what `ollama create` sends."""
    bits = struct.pack("f", value)
    (exact,) = struct.unpack("f", bits)
    return next(
        short for digits in _FLOAT32_DIGITS if struct.pack("f", short := float(f"{exact:.{digits}g}")) == bits
    )
