# pyright: basic
# Reads the SDKs' own tables, which are typed by what each property holds.
"""What the installed SDKs say of each resource type: its inputs, nested ones too, and its outputs.

A program that names a property in a dict, and not in an `Args` class, is checked by nobody before AWS or
Kubernetes sees it. The SDKs know each name, its kind, and whether it is required.
"""

from __future__ import annotations

import collections.abc
import enum
import functools
import importlib
import types
import typing
from difflib import get_close_matches
from typing import Any

from pulumi import _types as sdk
from pulumi.runtime import rpc
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

CUSTOM_RESOURCES = frozenset(
    {"kubernetes:keda.sh/v1alpha1:ScaledObject", "kubernetes:keda.sh/v1alpha1:ClusterTriggerAuthentication"}
)
"""Kinds without a class of their own: no SDK knows what is in their specs."""

_SIGNATURE = rpc._special_sig_key  # noqa: SLF001  the wire format's own mark
_SCALARS = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


def problems(token: str, inputs: dict[str, Any]) -> list[str]:
    """One sentence for each input that the type does not have, that is missing, or of another kind."""
    if token in CUSTOM_RESOURCES:
        unknown = inputs.keys() - {"apiVersion", "kind", "metadata", "spec"}
        found = [f"{token} has no input {name}" for name in sorted(unknown)]
        return found + list(_object(f"{token} metadata", inputs.get("metadata", {}), ObjectMetaArgs))
    arguments = _arguments(token)
    if arguments is None:
        return [f"no installed SDK has a type {token}"]
    return list(_object(token, inputs, arguments))


def inputs(token: str) -> frozenset[str]:
    """Names of all inputs of a type."""
    arguments = _arguments(token)
    return frozenset(_properties(arguments)[0]) if arguments else frozenset()


@functools.cache
def outputs(token: str) -> frozenset[str]:
    """Names of all outputs of a type; of a custom resource those that every Kubernetes object has."""
    if token in CUSTOM_RESOURCES:
        return frozenset({"apiVersion", "kind", "metadata", "spec"})
    resource = _resource(token)
    return frozenset(sdk.resource_types(resource)) if resource else frozenset()


def _resource(token: str) -> type | None:
    if token.startswith("pulumi:providers:"):
        return sdk_of(token.rpartition(":")[2]).Provider
    package, module, _ = token.split(":")
    sdk_of(package)
    registered = rpc.get_resource_module(package, module, "")
    if registered is None:
        return None
    told = vars(registered)["mod_info"]
    name = told["classes"].get(token)
    return getattr(importlib.import_module(told["fqn"]), name) if name else None


def sdk_of(package: str) -> types.ModuleType:
    """The SDK of a package, such as `aws`; it registers its types when it is imported."""
    return importlib.import_module(f"pulumi_{package.replace('-', '_')}")


@functools.cache
def _arguments(token: str) -> type | None:
    """The class of a resource's inputs: `NodeGroupArgs`, or `DeploymentInitArgs` where the first is taken."""
    resource = _resource(token)
    if resource is None:
        return None
    names = vars(importlib.import_module(resource.__module__))
    return names.get(f"{resource.__name__}InitArgs") or names[f"{resource.__name__}Args"]


@functools.cache
def _properties(arguments: type) -> tuple[dict[str, Any], frozenset[str]]:
    """For each camelCase name what it holds, and the names that are required."""
    # Properties' names are read off getters, and what these may return says what is required.
    return sdk.input_type_types(arguments), sdk._required_property_names(arguments)  # noqa: SLF001


def _object(path: str, value: dict[str, Any], arguments: type) -> Iterator[str]:
    known, required = _properties(arguments)
    for name in sorted(value.keys() - known.keys()):
        near = get_close_matches(name, known, n=1)
        meant = f": did you mean {near[0]}?" if near else f"; it has {', '.join(sorted(known))}"
        yield f"{path} has no input {name}{meant}"
    for name in sorted(required - {name for name, given in value.items() if given is not None}):
        yield f"{path} lacks its input {name}"
    for name in sorted(value.keys() & known.keys()):
        yield from _value(f"{path} {name}", value[name], known[name])


def _value(path: str, value: Any, hint: Any) -> Iterator[str]:  # noqa: ANN401  whatever the wire holds
    if isinstance(value, dict) and _SIGNATURE in value:
        # A secret or an output shows its value; a resource, an archive or an unknown is not looked into.
        if "value" in value:
            yield from _value(path, value["value"], hint)
        return
    if value is None or value == rpc.UNKNOWN:
        return
    choices = _choices(hint)
    found = [list(_one(path, value, choice)) for choice in choices]
    if found and all(found):
        yield from min(found, key=len)


def _choices(hint: Any) -> list[Any]:  # noqa: ANN401  a type, or what typing has for one
    """What a property may hold, without the wrappers that every input has."""
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        wrappers = {types.NoneType, collections.abc.Awaitable}
        return [
            choice
            for each in typing.get_args(hint)
            if each not in wrappers
            and typing.get_origin(each) not in wrappers
            and "pulumi.output.Output" not in str(each)
            for choice in _choices(each)
        ]
    return [hint]


def _one(path: str, value: Any, hint: Any) -> Iterator[str]:  # noqa: ANN401  as above
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    is_class = isinstance(hint, type)
    if origin is collections.abc.Sequence:
        yield from _list(path, value, arguments[0])
    elif origin is collections.abc.Mapping:
        yield from _map(path, value, arguments[1])
    elif is_class and sdk.is_input_type(hint):
        if isinstance(value, dict):
            yield from _object(path, value, hint)
        else:
            yield f"{path} is {value!r}, not a {hint.__name__}"
    elif origin is typing.Literal or (is_class and issubclass(hint, enum.Enum)):
        allowed = arguments or tuple(each.value for each in hint.__members__.values())
        if value not in allowed:
            yield f"{path} is {value!r}, not one of {', '.join(map(str, allowed))}"
    elif hint in _SCALARS and not _is(value, hint):
        yield f"{path} is {value!r}, not {_SCALARS[hint]}"


def _list(path: str, value: Any, of: Any) -> Iterator[str]:  # noqa: ANN401  as above
    if not isinstance(value, list):
        yield f"{path} is {value!r}, not a list"
        return
    for index, item in enumerate(value):
        yield from _value(f"{path}[{index}]", item, of)


def _map(path: str, value: Any, of: Any) -> Iterator[str]:  # noqa: ANN401  as above
    if not isinstance(value, dict):
        yield f"{path} is {value!r}, not a map"
        return
    for key, item in value.items():
        yield from _value(f"{path} {key}", item, of)


def _is(value: Any, scalar: type) -> bool:  # noqa: ANN401  as above
    # The wire has one kind of number.
    if scalar is int:
        return isinstance(value, float) and value.is_integer()
    return isinstance(value, scalar)
