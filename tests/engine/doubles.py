# pyright: basic
# ruff: noqa: ANN001, ANN201, ARG002, D102, N802
# Names, requests and answers of the methods are those of pulumi's provider.proto; gRPC knows no types.
"""The double of a provider, which the engine talks to as it does to the real one.

It refuses whatever the SDKs do not know, answers with the outputs of `cli/computed.py`, and keeps what it
makes in a Cloud.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf import any_pb2, empty_pb2, json_format, struct_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from cli.computed import COMPUTED, INVOKES
from tests.engine import schemas
from tests.engine.cloud import Cloud, Refused, Thing, Unready
from tests.engine.replacing import below, changed, replaced_by

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def plain(message: Any) -> dict[str, Any]:  # noqa: ANN401  a Struct
    """What a message holds; secrets keep their marks, by which the engine knows what to encrypt."""
    return json_format.MessageToDict(message)


def packed(values: Mapping[str, Any]) -> Any:  # noqa: ANN401  a Struct
    """The message that holds these values."""
    return json_format.ParseDict(dict(values), struct_pb2.Struct())


def refuse(context: Any, reason: str) -> NoReturn:  # noqa: ANN401  a gRPC context
    """End a call with an error; the engine shows the reason to the user."""
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)
    raise AssertionError


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One package's provider; its requests' types are those of `provider.proto`."""

    def __init__(self, cloud: Cloud, package: str) -> None:
        self.cloud = cloud
        self.version = version(f"pulumi-{package}")

    def Handshake(self, request, context):
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def Attach(self, request, context):
        return empty_pb2.Empty()

    Cancel = Attach

    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version=self.version)

    def CheckConfig(self, request, context):
        # The version is the engine's. A value is text here, whatever its kind: so its name is looked at.
        names = dict.fromkeys(plain(request.news).keys() - {"version"}, rpc.UNKNOWN)
        found = schemas.problems(request.urn.split("::")[2].rpartition("$")[2], names)
        return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(found))

    def Configure(self, request, context):
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request, context):
        inputs = plain(request.news)
        found = schemas.problems(request.type, inputs)
        return provider_pb2.CheckResponse(
            inputs=packed(self.named(request, inputs)), failures=_failures(found)
        )

    def named(self, request, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs with the name that the provider gives, where it does so before it creates."""
        return inputs

    def Diff(self, request, context):
        old, new = plain(request.old_inputs), plain(request.news)
        paths = changed(old, new)
        replaces = [path for path in paths if below(path, replaced_by(request.type))]
        replaces += self.replaced_anyway(request.id, new)
        kinds = provider_pb2.PropertyDiff
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME
            if paths or replaces
            else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=replaces,
            detailedDiff={
                path: kinds(
                    kind=kinds.UPDATE_REPLACE if path in replaces else kinds.UPDATE, inputDiff=path in paths
                )
                for path in (*paths, *replaces)
            },
            hasDetailedDiff=True,
            deleteBeforeReplace=bool(replaces) and self.needs_its_name(old, new),
        )

    DiffConfig = Diff

    def replaced_anyway(self, identity: str, inputs: dict[str, Any]) -> list[str]:
        """Paths that make a new object though they did not change."""
        return []

    def needs_its_name(self, old: dict[str, Any], new: dict[str, Any]) -> bool:
        """Whether a new object cannot be made before the old one is gone."""
        return False

    def Create(self, request, context):
        inputs = plain(request.properties)
        if request.preview:
            unknown = dict.fromkeys(schemas.outputs(request.type), rpc.UNKNOWN)
            return provider_pb2.CreateResponse(properties=packed(unknown | inputs))
        try:
            self.cloud.start("create", request.urn)
            identity = self.cloud.new_id(request.urn)
            properties = self._properties(request.type, identity, inputs)
            identity = properties.pop("id", identity)
            thing = Thing(request.urn, inputs, properties)
            self.cloud.things[identity] = thing
            self.cloud.end("create", request.urn)
        except Refused as error:
            refuse(context, str(error))
        except Unready as error:
            thing.unready = str(error)
            _made_but_unready(context, identity, thing, inputs)
        return provider_pb2.CreateResponse(id=identity, properties=packed(properties))

    def _properties(self, token: str, identity: str, inputs: dict[str, Any]) -> dict[str, Any]:
        if token not in COMPUTED:
            raise Refused(f"cli/computed.py has no row for {token}")
        return _merged(COMPUTED[token](identity, inputs), inputs)

    def Read(self, request, context):
        thing = self.cloud.things.get(request.id)
        if thing is None:
            return provider_pb2.ReadResponse()
        # Without inputs the engine would see the drift, and not mend it.
        return provider_pb2.ReadResponse(
            id=request.id,
            properties=packed(thing.properties),
            inputs=packed(_live(thing.inputs, thing.properties)),
        )

    def Update(self, request, context):
        inputs = plain(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=packed(plain(request.olds) | inputs))
        try:
            self.cloud.start("update", request.urn)
            thing = self.cloud.things[request.id]
            sent = self.sent(thing, inputs, request.ignoreChanges)
            thing.inputs = sent
            thing.properties = self._properties(request.type, request.id, sent)
            thing.properties.pop("id", None)
            self.cloud.end("update", request.urn)
        except Refused as error:
            refuse(context, str(error))
        return provider_pb2.UpdateResponse(properties=packed(thing.properties))

    def sent(self, thing: Thing, inputs: dict[str, Any], ignored) -> dict[str, Any]:
        """What an update asks of the cloud: where changes are ignored, what the state holds."""
        return inputs

    def Delete(self, request, context):
        try:
            self.cloud.start("delete", request.urn)
            self.cloud.things.pop(request.id, None)
            self.cloud.end("delete", request.urn)
        except Refused as error:
            refuse(context, str(error))
        return empty_pb2.Empty()

    def Invoke(self, request, context):
        if request.tok not in INVOKES:
            refuse(context, f"cli/computed.py has no answer for {request.tok}")
        answer = INVOKES[request.tok]
        told = answer(plain(request.args)) if callable(answer) else answer
        return provider_pb2.InvokeResponse(**{"return": packed(told)})


def _merged(computed: Any, given: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    """What is given, and below it what the cloud adds."""
    if not isinstance(computed, dict) or not isinstance(given, dict):
        return given
    return computed | {
        key: _merged(computed[key], value) if key in computed else value for key, value in given.items()
    }


def _live(inputs: Any, properties: Any) -> Any:  # noqa: ANN401  likewise
    """The inputs as the cloud holds them now, without what it added."""
    if not isinstance(inputs, dict) or not isinstance(properties, dict):
        return properties
    return {key: _live(value, properties[key]) for key, value in inputs.items() if key in properties}


def _failures(found: list[str]) -> list:
    return [provider_pb2.CheckFailure(reason=reason) for reason in found]


def _made_but_unready(context, identity: str, thing: Thing, inputs: dict[str, Any]) -> NoReturn:
    """The error by which a provider says that an object is there, and what is wrong with it."""
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=identity, properties=packed(thing.properties), inputs=packed(inputs), reasons=[thing.unready]
        )
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=thing.unready, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, thing.unready)
    raise AssertionError


def serve(provider: Provider) -> tuple[grpc.Server, int]:
    """A running server of a provider, and its port."""
    server = grpc.server(ThreadPoolExecutor(32), options=OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
