"""The stack that is being deployed: the one place where Pulumi's own config is read."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from components import cold_start, settings
from components.problems import SettingsError


@dataclass(frozen=True, slots=True)
class Stack:
    """One environment.

    Attributes:
        name: the stack's name, such as `dev`.
        region: the AWS region that everything lies in.
        settings: what the stack file says.
    """

    name: str
    region: str
    settings: settings.Settings

    @property
    def cluster_name(self) -> str:
        """The EKS cluster's name: people, kubectl and node tags refer to it as text."""
        return f"{pulumi.get_project()}-{self.name}"


def load() -> Stack:
    """Reads the running program's stack config.

    Raises:
        pulumi.RunError: with every problem of the config; the engine prints it without a traceback.
    """
    prefix = f"{pulumi.get_project()}:"
    everything = {**get_config_env(), **CONFIG.get()}
    own = {key.removeprefix(prefix): value for key, value in everything.items() if key.startswith(prefix)}
    try:
        parsed = settings.parse({key: _value(value) for key, value in own.items()})
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
    for sentence in cold_start.warnings(parsed):
        pulumi.log.warn(sentence)
    return Stack(pulumi.get_stack(), pulumi.Config("aws").require("region"), parsed)


def _value(text: str) -> object:
    """Pulumi hands lists and maps over as JSON and everything else as plain text."""
    try:
        return json.loads(text) if text.startswith(("[", "{")) else text
    except ValueError:
        return text
