"""A language model of 285 KB whose answers end, differ from document to document, and take milliseconds.

The weights are constructed, not trained: one llama layer that a real Ollama server loads and runs like any
other.

- **Levels decide when an answer ends.** Answers are words of eight levels, 32 words each. A token's
  embedding names its level in a one-hot block (a byte is level 0), and the output matrix leaves only the
  tokens of the next level possible; after level 8 that is the end token. The gap is thousands of logits, so
  no prompt and no sampling option leaves the structure: 8 words and the end token, `eval_count` 9,
  `done_reason` stop.
- **The document decides which words.** Queries and keys are constants, so attention depends on distances
  only (by the rotary embedding). The two heads take two differently weighted means of the codes of all
  tokens, and their difference is a fingerprint of what stands where. The feed-forward block folds each
  component of it into a zigzag with kinks at powers of two, which makes small differences large in short and
  in long documents alike. Within a level, the word whose code fits best wins.
- **A grammar decides the rest.** Where `format` forbids the words, the output matrix prefers what closes a
  JSON document, so that such answers end too, and are valid.

Every byte of the prompt, after templating, is one token and the begin token is one more: n bytes give
`prompt_eval_count` n + 1. Exceptions: U+2581 (three bytes) is one token, and so is the text of each special
token, `<unk>`, `<s>` and `</s>`. A prompt of n bytes is accepted up to n + 1 = num_ctx; its answer is whole
up to n + 9 = num_ctx and ends with `done_reason` length beyond.

Measured with Ollama 0.24.0 at temperature 0: documents that differ in a short number have different answers
(200 of 200), and so have most that differ in only a number within 1,500 bytes (98 of 100 where it comes
first, 76 of 100 where it comes last, since flash attention adds up in 16 bits); equal documents have equal
answers always. At the default temperature the answers vary and end just the same.
"""

import hashlib
from math import prod
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import numpy.typing as npt

Kind = Literal["answers", "length", "runaway"]
Matrix = npt.NDArray[np.float32]

CONTEXT_TOKENS = 2048

UNKNOWN, BEGIN, END = 0, 1, 2
FIRST_BYTE = 3
SPACE = FIRST_BYTE + 256
FIRST_WORD = SPACE + 1

# A word is an onset, which names its level, and a rime. No two adjacent characters of a word are a token, so
# the tokenizer never joins the bytes of a prompt to a word.
ONSETS = tuple("bcdfghlm")
RIMES = tuple(vowel + end for vowel in "aeio" for end in ("le", "lt", "me", "nd", "ng", "re", "rn", "st"))
FIRST_LEVEL_WITH_SPACE = 2

# The residual stream: one constant, one place for each level, then the codes and the fingerprint.
WIDTH = 32
HEADS = 2
CODE = WIDTH // HEADS
CONSTANT, LEVELS, CODES = 0, 1, WIDTH - CODE
# So small that a token's own code disturbs neither its norm nor the fingerprint.
CODE_SCALE = 2.0**-12
# Measured: with kinks from 2^-12 to 2^-3 one changed byte shows in documents of 2 to 1,900 bytes, mostly.
KINKS = 2.0 ** np.arange(-12, -2, dtype=np.float32)
# Makes SiLU as good as a ramp at the scale of the narrowest kink.
GATE = 2.0**17
# All frequencies high, so that neighbours weigh differently.
ROPE_BASE = 4.0
WORD_LOGIT = 100.0
# A tenth of it, for the end token, is still ten times what the best word can have.
IMPOSSIBLE_LOGIT = 200_000.0


def write(path: Path, kind: Kind = "answers") -> None:
    """Write the model as a GGUF file: the same bytes every time.

    Args:
        path: The file to write; an existing one is replaced.
        kind: What generation does. `answers` ends after 8 words. `length` says words for ever, so it ends
            with `done_reason` length, at num_predict or at the end of the context. `runaway` says one word
            for ever: the server sends 31 of them and gives up. With `stream: false` that is HTTP 200 and one
            object: the 31 words as its response, `done: false`, no `done_reason`, no counts. With
            `stream: true` it is HTTP 200 and 31 lines with `done: false`, and then the stream just ends. A
            num_predict up to 31 is reached first, and the answer ends with `done_reason` length.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"tiny-{kind}")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(2 * CODE * len(KINKS))
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-12)
    writer.add_rope_dimension_count(CODE)
    writer.add_rope_freq_base(ROPE_BASE)
    _add_vocabulary(writer)
    for name, tensor in tensors(kind).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def words() -> list[str]:
    """Return the 256 words, level by level; those after the first level begin with a space."""
    return [("" if onset == ONSETS[0] else " ") + onset + rime for onset in ONSETS for rime in RIMES]


def tensors(kind: Kind) -> dict[str, Matrix]:
    """Return the weights by their GGUF names, rows first as the server multiplies them."""
    vocabulary = FIRST_WORD + len(ONSETS) * len(RIMES)
    level = np.zeros(vocabulary, np.int64)
    level[FIRST_WORD:] = 1 + np.arange(vocabulary - FIRST_WORD) // len(RIMES)

    embedding = _zeros(vocabulary, WIDTH)
    embedding[:, CONSTANT] = 1
    embedding[np.arange(vocabulary), LEVELS + level] = 1
    embedding[:, CODES:] = CODE_SCALE * _noise("code", vocabulary, CODE)
    # What the norm makes of the constant: two of the places are 1, and the codes are too small to count.
    constant = (WIDTH / 2) ** 0.5

    query, key, value, output = (_zeros(WIDTH, WIDTH) for _ in range(4))
    query[:, CONSTANT] = _noise("query", WIDTH) / constant
    key[:, CONSTANT] = _noise("key", WIDTH) / constant
    place = np.arange(CODE)
    for head, sign in enumerate((1, -1)):
        value[head * CODE + place, CODES + place] = 1 / (CODE_SCALE * constant)
        output[CODES + place, head * CODE + place] = sign

    # Hidden unit (place, side, kink): a ramp that begins at the kink and turns the slope from 1 to -1 or
    # back.
    hidden = np.arange(CODE * 2 * len(KINKS)).reshape(CODE, 2, len(KINKS))
    places, side = CODES + place[:, None, None], np.array([[1], [-1]])
    turn = np.where(np.arange(len(KINKS)) % 2, 2, -2)
    gate, up, down = _zeros(hidden.size, WIDTH), _zeros(hidden.size, WIDTH), _zeros(WIDTH, hidden.size)
    gate[hidden, places] = GATE * side
    gate[hidden, CONSTANT] = -GATE * KINKS
    up[:, CONSTANT] = 1 / GATE
    down[places, hidden] = side * turn / constant**2

    logits = _zeros(vocabulary, WIDTH)
    logits[FIRST_WORD:, CODES:] = WORD_LOGIT * _noise("fit", vocabulary - FIRST_WORD, CODE)
    # Counts only where a grammar forbids what the levels allow: end, or else close, and space last.
    reluctance = np.ones(vocabulary, np.float32)
    reluctance[[END, *FIRST_BYTE + np.frombuffer(b'"]},:', np.uint8)]] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    reluctance[[SPACE, *FIRST_BYTE + np.frombuffer(b"\t\n", np.uint8)]] = 2
    for before in range(len(ONSETS) + 1):
        wrong = ~_allowed(kind, before, level)
        logits[wrong, LEVELS + before] = -IMPOSSIBLE_LOGIT * reluctance[wrong]

    ones = np.ones(WIDTH, np.float32)
    return {
        "token_embd.weight": embedding,
        "blk.0.attn_norm.weight": ones,
        "blk.0.attn_q.weight": query,
        "blk.0.attn_k.weight": key,
        "blk.0.attn_v.weight": value,
        "blk.0.attn_output.weight": output,
        "blk.0.ffn_norm.weight": ones,
        "blk.0.ffn_gate.weight": gate,
        "blk.0.ffn_up.weight": up,
        "blk.0.ffn_down.weight": down,
        "output_norm.weight": ones,
        "output.weight": logits,
    }


def _allowed(kind: Kind, before: int, level: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return for each token whether it may follow one of the level `before`."""
    if kind == "runaway":
        return np.arange(len(level)) == FIRST_WORD
    if before < len(ONSETS):
        return level == before + 1
    return level == FIRST_LEVEL_WITH_SPACE if kind == "length" else np.arange(len(level)) == END


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    """Add a SentencePiece vocabulary: special tokens, all bytes, the space, the words."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    # SentencePiece writes a space as U+2581; without a token of its own it would cost three.
    text_tokens = [word.replace(" ", "\N{LOWER ONE EIGHTH BLOCK}") for word in (" ", *words())]
    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *byte_tokens, *text_tokens])
    writer.add_token_types(
        [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * 256 + [kinds.NORMAL] * len(text_tokens)
    )
    writer.add_token_scores([0.0] * (FIRST_WORD + len(words())))
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_add_bos_token(value=True)
    # Otherwise a prompt would begin with a space that nobody wrote.
    writer.add_add_space_prefix(value=False)


def _zeros(*shape: int) -> Matrix:
    return np.zeros(shape, np.float32)


def _noise(label: str, *shape: int) -> Matrix:
    """Return numbers between -1 and 1, made from the label, that the server's 16-bit cache holds exactly."""
    octets = np.frombuffer(hashlib.shake_256(label.encode()).digest(prod(shape)), np.uint8)
    return ((octets * 2.0 - 255) / 256).astype(np.float32).reshape(shape)
