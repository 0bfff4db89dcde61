"""The pinned Ollama server, found or built once into a cache outside the checkout.

No package registry has Ollama's binary, but its Go module builds with go and a C++ compiler. 0.24.0 is the
last version whose plain `go build` makes a server that can infer.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cli.go_tool import GoTool, Header, Report, ToolError, built, to_stderr
from runtime.version import OLLAMA_VERSION

VERSION_TIMEOUT_SECONDS = 10
_OLD_OLLAMA = ("github.com/ollama/ollama@v0.9.6", "h1:HZNJmB52pMt6zLkGkkheBuXBXM5478eiSAj7GR75AMc=")
_MALGO = ("github.com/gen2brain/malgo@v0.11.24", "h1:hHcIJVfzWcEDHFdPl5Dl/CUSOjzOleY0zzAV8Kx+imE=")

OLLAMA = GoTool(
    name="ollama",
    version=OLLAMA_VERSION,
    packages=("github.com/ollama/ollama",),
    stamps=(("github.com/ollama/ollama/version.Version", OLLAMA_VERSION),),
    headers=(
        Header("nlohmann/json.hpp", *_OLD_OLLAMA, "llama/llama.cpp/common/json.hpp"),
        # The forward declarations alone would do; the whole header has them.
        Header("nlohmann/json_fwd.hpp", *_OLD_OLLAMA, "llama/llama.cpp/common/json.hpp"),
        Header("stb/stb_image.h", *_OLD_OLLAMA, "llama/llama.cpp/common/stb_image.h"),
        Header("miniaudio/miniaudio.h", *_MALGO, "miniaudio.h"),
    ),
)


def local_ollama(report: Report = to_stderr) -> Path:
    """Return an Ollama to run here: $OLLAMA_BINARY, else a 0.24 on PATH, else the pinned one.

    Raises:
        ToolError: OLLAMA_BINARY is not an executable file, or the pinned server cannot be built.
    """
    if chosen := os.environ.get("OLLAMA_BINARY"):
        if not shutil.which(Path(chosen).absolute()):
            raise ToolError(
                f"OLLAMA_BINARY is {chosen}, which is not an executable file: correct or unset it."
            )
        return Path(chosen).absolute()
    found = shutil.which("ollama")
    if found and (version := _version_of(found)) and version.rpartition(".")[0] == "0.24":
        return Path(found)
    return pinned_ollama(report)


def pinned_ollama(report: Report = to_stderr) -> Path:
    """Return the pinned Ollama server; the first call builds it, in about 4 minutes on 2 cores.

    Raises:
        ToolError: A compiler is missing, or the build failed.
    """
    return built(OLLAMA, report) / "ollama"


def client_version(output: str) -> str | None:
    """Return the version of the program that printed this for `--version`, or None."""
    # Where a server runs, its version stands there too.
    told: dict[str, str] = dict(re.findall(r"(client|ollama) version is (\S+)", output))
    return told.get("client") or told.get("ollama")


def _version_of(binary: str) -> str | None:
    try:
        asked = subprocess.run(
            [binary, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return client_version(asked.stdout + asked.stderr)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{pinned_ollama()}\n")
    except ToolError as error:
        sys.exit(str(error))
