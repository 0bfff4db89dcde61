# pyright: basic
# ruff: noqa: ANN001, ANN201, ARG002, D102, N802  gRPC gives these methods their names and arguments
"""A language plugin that runs no program: `pulumi import` starts one, and asks no more than who it is."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import language_pb2_grpc, plugin_pb2


class Plugin(language_pb2_grpc.LanguageRuntimeServicer):
    """The one call that has to be answered."""

    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="1.0.0")


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(2))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Plugin(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    # The engine reads it, and ends the plugin when it has no more to ask.
    print(port, flush=True)  # noqa: T201
    with contextlib.suppress(KeyboardInterrupt):
        server.wait_for_termination()
