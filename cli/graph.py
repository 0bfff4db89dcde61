# pyright: basic
# The SDK's mock monitor and its wire format are untyped; strict checking would say nothing but that.
"""The program's resources as data: what `pulumi up` would register, without an engine and without AWS.

Tests assert on it, the local run executes it. The program runs in a context of its own with recording mocks;
nothing of one evaluation reaches the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import runpy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import yaml
from pulumi.runtime import mocks, rpc
from pulumi.runtime.settings import SETTINGS, get_root_resource
from pulumi.runtime.stack import run_pulumi_func

from cli.computed import COMPUTED, INVOKES

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

ROOT = Path(__file__).parent.parent
PROJECT = "ollama-eks"

RESOURCE_REFERENCE = {rpc._special_sig_key: rpc._special_resource_sig}  # noqa: SLF001  the wire format's own marks


class GraphError(Exception):
    """The program does not evaluate; the message is the program's own."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One registered resource.

    Attributes:
        urn: its identity in the stack.
        type: type token, such as `aws:sqs/queue:Queue`.
        name: logical name.
        inputs: its properties, resolved, camelCase; numbers are floats, as the wire has them.
        outputs: inputs and what a provider would add.
        parent: URN of the component that made it, empty at the top.
        dependencies: URNs of everything that has to exist before it.
        provider: reference of an explicit provider, empty for the default one.
        protect: whether destroying it is refused.
        retain_on_delete: whether it stays when it leaves the program.
        ignore_changes: property paths that an update leaves alone.
        custom: whether a provider makes it; false for components.
    """

    urn: str
    type: str
    name: str
    inputs: dict[str, Any] = field(repr=False)
    outputs: dict[str, Any] = field(repr=False)
    parent: str
    dependencies: frozenset[str] = field(repr=False)
    provider: str
    protect: bool
    retain_on_delete: bool
    ignore_changes: tuple[str, ...]
    custom: bool


@dataclass(frozen=True, slots=True)
class Project:
    """A Pulumi project: the prefix of its config's keys, and its program."""

    name: str
    program: Path


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything that one stack registers.

    Attributes:
        resources: by URN, in the order of URNs.
        exports: the stack's outputs.
    """

    resources: dict[str, Resource]
    exports: dict[str, Any]

    def of_type(self, token: str) -> tuple[Resource, ...]:
        """All resources of a type."""
        return tuple(resource for resource in self.resources.values() if resource.type == token)

    def one(self, token: str, name: str) -> Resource:
        """The resource of that type and logical name.

        Raises:
            GraphError: where there is none, or more than one.
        """
        found = [resource for resource in self.of_type(token) if resource.name == name]
        if len(found) != 1:
            raise GraphError(f"the graph has {len(found)} resources {token} named {name}, not one")
        return found[0]


def evaluate(
    stack_file: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    project: Project = Project(PROJECT, ROOT / "__main__.py"),
    references: Mapping[str, Mapping[str, Any]] | None = None,
) -> Graph:
    """Runs a program over a stack file and returns what it registers.

    Args:
        stack_file: a `Pulumi.<stack>.yaml`.
        changes: config values that replace those of the file, keys without the project's prefix.
        project: whose program it is.
        references: the outputs of each stack that the program refers to.

    Raises:
        GraphError: with the program's own message, such as every problem of the config.
    """
    try:
        loaded: Any = yaml.safe_load(stack_file.read_text())
        values = dict(loaded["config"])
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise GraphError(f"{stack_file} is not a stack file with a `config` map: {error}") from error
    values |= {f"{project.name}:{key}": value for key, value in (changes or {}).items()}
    stack = stack_file.name.removeprefix("Pulumi.").removesuffix(".yaml")
    # A thread and an empty context: the SDK keeps its settings in context variables, its loop in the thread.
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(contextvars.Context().run, _run, project, stack, values, references or {}).result()


def _run(
    project: Project, stack: str, values: dict[str, Any], references: Mapping[str, Mapping[str, Any]]
) -> Graph:
    pulumi.runtime.set_all_config(
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    )
    answers = _Answers(references)
    recorder = _Recorder(answers)
    # It ends what a program that fails leaves behind: pending outputs, registrations in other threads.
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        # Of a failed registration every dependent reports the same error again.
        runner.get_loop().set_exception_handler(lambda _loop, _context: None)
        # The one thing that the SDK shares between contexts: what an evaluation that failed was waiting for.
        SETTINGS.outputs.clear()  # pyright: ignore[reportAttributeAccessIssue]  a property of a context
        try:
            mocks.set_mocks(answers, project=project.name, stack=stack, monitor=recorder)
            exports = runner.run(_program(project.program), context=contextvars.copy_context())
        except pulumi.RunError as error:
            raise GraphError(str(error)) from error
        finally:
            # Whatever the program made of a missing answer, this is what is to be mended.
            if answers.missing:
                rows = ", ".join(sorted(answers.missing))
                raise GraphError(f"the program uses {rows}: without a row in cli/computed.py") from None
            if answers.doubled:
                urns = ", ".join(sorted(answers.doubled))
                raise GraphError(f"the program registers {urns} more than once") from None
    return Graph(dict(sorted(recorder.graph.items())), dict(exports or {}))


@contextlib.contextmanager
def _loop_of_this_thread() -> Generator[None]:
    """An event loop for what the SDK does in this thread; left alone, it makes loops and closes none."""
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        yield
    asyncio.set_event_loop(None)


async def _program(path: Path) -> Any:  # noqa: ANN401  what a program exports
    """Runs the program to its last registration, and gives back what it exports."""

    def main() -> None:
        runpy.run_path(str(path))

    await run_pulumi_func(main)
    root: Any = get_root_resource()
    return await pulumi.Output.from_input(root.outputs).future()


class _Answers(mocks.Mocks):
    """A provider for every type: gives back the inputs and what the table of computed outputs adds.

    What has no row is noted and answered with nothing: an error in here would fail every dependent too.
    """

    def __init__(self, references: Mapping[str, Mapping[str, Any]]) -> None:
        self.references = references
        self.missing: set[str] = set()
        self.doubled: set[str] = set()

    def call(self, args: mocks.MockCallArgs) -> Any:  # noqa: ANN401  the SDK takes a dict too
        if args.token not in INVOKES:
            self.missing.add(args.token)
        answer = INVOKES.get(args.token, {})
        return answer(args.args) if callable(answer) else answer

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ == "pulumi:pulumi:StackReference":
            return args.name, {"name": args.name, "outputs": self.references[args.name]}
        if args.typ not in COMPUTED:
            if args.custom:
                self.missing.add(args.typ)
            return "", args.inputs
        outputs = {**args.inputs, **COMPUTED[args.typ](args.name, args.inputs)}
        return outputs.pop("id", f"{args.name}-id"), outputs


class _Recorder(mocks.MockMonitor):
    """The SDK's mock monitor, which forgets parents, dependencies and options; this one keeps them."""

    def __init__(self, answers: _Answers) -> None:
        super().__init__(answers)
        self.answers = answers
        self.graph: dict[str, Resource] = {}

    def Invoke(self, request: Any) -> Any:  # noqa: ANN401, N802  a gRPC method
        with _loop_of_this_thread():
            return super().Invoke(request)

    def ReadResource(self, request: Any) -> Any:  # noqa: ANN401, N802  likewise
        with _loop_of_this_thread():
            return super().ReadResource(request)

    def RegisterResource(self, request: Any) -> Any:  # noqa: ANN401, N802  likewise
        with _loop_of_this_thread():
            response: Any = super().RegisterResource(request)
        if request.type == "pulumi:pulumi:Stack":
            return response
        state = self.resources[response.urn].state
        if request.type == "eks:index:Cluster":
            state = self._with_cluster(response, request, state)
        if response.urn in self.graph:
            self.answers.doubled.add(response.urn)
        self.graph[response.urn] = Resource(
            urn=response.urn,
            type=request.type,
            name=request.name,
            inputs=_plain(rpc.deserialize_properties(request.object)),
            outputs=_plain(state),
            parent=request.parent,
            dependencies=frozenset(request.dependencies),
            provider=request.provider,
            protect=request.protect,
            retain_on_delete=request.retainOnDelete,
            ignore_changes=tuple(request.ignoreChanges),
            custom=request.custom,
        )
        return response

    def _with_cluster(self, response: Any, request: Any, state: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
        """Adds the one child of the remote component that the program reads, as a resource reference."""
        token = "aws:eks/cluster:Cluster"  # noqa: S105  a type token
        urn = self.make_urn(response.urn, token, request.name)
        inputs = {"name": state["name"]}
        self.resources[urn] = self.ResourceRegistration(
            urn, state["name"], {**inputs, **COMPUTED[token](request.name, inputs)}
        )
        reference = {**RESOURCE_REFERENCE, "urn": urn, "id": state["name"], "packageVersion": ""}
        response.object.update({"eksCluster": reference})
        return {**state, "eksCluster": urn}


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    """The value without the wire's marks around secrets."""
    if rpc.is_rpc_secret(value):
        value = rpc.unwrap_rpc_secret(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
