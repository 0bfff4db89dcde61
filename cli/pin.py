"""`ollama-eks pin`: the digests that a stack's tags have now, written into its stack file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from cli import registry
from cli.stack_file import StackFile
from components.model_section import Model
from components.problems import describe
from runtime.ollama.model_name import ModelName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import httpx

SHOWN_DIGITS = 12
"""Of a digest, as in `ollama list`."""

State = Literal["pinned", "not pinned", "unchanged", "moved", "not pinnable"]

_console = Console(markup=False, highlight=False, soft_wrap=True)


class PinError(Exception):
    """Nothing is pinned; the message has one sentence for each problem."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One model of a stack file, and what its registry says.

    Attributes:
        index: its place in the list.
        model: its name.
        reference: what is pulled for it, the base of a Modelfile too; or what it is made of.
        old: the digest in the file, or nothing.
        new: the digest that the tag has now; nothing where there is none to be had.
        obstacle: why there is none.
    """

    index: int
    model: str
    reference: str
    old: str
    new: str = ""
    obstacle: str = ""

    def state(self, *, check: bool) -> State:
        """What has happened to it, or would have without `--check`."""
        if self.obstacle:
            return "not pinnable"
        if self.old:
            return "unchanged" if self.old == self.new else "moved"
        return "not pinned" if check else "pinned"


def stack_file(path: Path | None, stack: str, root: Path) -> Path:
    """The file that the command line means.

    Args:
        path: the file itself, or None.
        stack: a stack's name, `[organisation/project/]name`, or nothing.
        root: the folder of the project.

    Raises:
        PinError: neither or both are given.
    """
    if (path is None) == (not stack):
        here = ", ".join(sorted(found.name for found in root.glob("Pulumi.*.yaml"))) or "none"
        raise PinError(f"give a stack file, or its name with --stack; of this project there are: {here}")
    return path if path is not None else root / f"Pulumi.{stack.rpartition('/')[2]}.yaml"


def run(path: Path, *, models: Sequence[str] = (), check: bool = False) -> bool:
    """Pins models of a stack file, or checks their pins, and shows each; False where a check finds one moved.

    Args:
        path: a `Pulumi.<stack>.yaml`.
        models: names of those that are meant; none for all.
        check: whether the file is only read.

    Raises:
        PinError, StackFileError: the file is as it was.
    """
    file = StackFile.read(path)
    with registry.client() as http:
        pins = resolve(file, models, http)
    digests = {pin.index: pin.new for pin in pins if pin.new != pin.old and not pin.obstacle}
    if digests and not check:
        file.write(file.with_digests(digests))
    show(pins, check=check)
    return not check or all(pin.state(check=check) != "moved" for pin in pins)


def resolve(file: StackFile, models: Sequence[str], http: httpx.Client) -> list[Pin]:
    """Asks for the present digest of each of these models; each tag is asked for once.

    Raises:
        PinError: with every problem, of the file and of the registries.
    """
    names = [str(model.get("name")) for model in file.models]
    problems = [
        f"{file.path} has no model {name}; it has {', '.join(names)}" for name in models if name not in names
    ]
    asked: dict[tuple[ModelName, bool], str | registry.RegistryError] = {}
    pins: list[Pin] = []
    for index, (name, model) in enumerate(zip(names, file.models, strict=True)):
        if models and name not in models:
            continue
        try:
            pins.append(_resolved(index, name, model, http, asked))
        except ValidationError as error:
            problems += [f"model {name}: {problem}" for problem in describe(error, Model)]
        except (ValueError, registry.RegistryError) as error:
            problems.append(f"model {name}: {error}")
    if problems:
        raise PinError("\n".join([*problems, f"{file.path} is as it was"]))
    return pins


def show(pins: Sequence[Pin], *, check: bool) -> None:
    """Prints a line for each, then both digests, whole, of those whose tag has moved."""
    table = Table("model", "reference", "old", "new", "state")
    for column in table.columns:
        column.overflow = "fold"
    for pin in pins:
        state = pin.state(check=check)
        why = f"{state}: {pin.obstacle}" if pin.obstacle else state
        table.add_row(pin.model, pin.reference, _short(pin.old), _short(pin.new), why)
    _console.print(table)
    for pin in pins:
        if pin.state(check=check) == "moved":
            _console.print(f"{pin.model}: {pin.reference} has moved from {pin.old} to {pin.new}")


def _resolved(
    index: int,
    name: str,
    model: Mapping[str, Any],
    http: httpx.Client,
    asked: dict[tuple[ModelName, bool], str | registry.RegistryError],
) -> Pin:
    # As the program reads it, but for the old digest, which may be anything: it is to be replaced.
    settings = Model.model_validate({key: value for key, value in model.items() if key != "digest"})
    source, old = settings.spec.source, str(model.get("digest") or "")
    pulled = source.pulled
    if pulled is None or pulled.pull_name is None:
        return Pin(index, name, source.from_ or "a Modelfile", old, obstacle="made of files alone")
    key = (ModelName.parse(pulled.pull_name), pulled.plain_http)
    if key not in asked:
        try:
            asked[key] = registry.present_digest(http, key[0], plain_http=key[1])
        except registry.RegistryError as error:
            asked[key] = error
    answer = asked[key]
    if isinstance(answer, registry.RegistryError):
        raise answer
    return Pin(index, name, str(pulled.from_), old, answer)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:SHOWN_DIGITS]
