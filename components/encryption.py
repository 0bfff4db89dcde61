"""The key that everything at rest is encrypted with: the services' own, one of yours, or one made here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.encryption_key import CREATE, key_policy
from components.pod_identity import Allow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class EncryptionArgs:
    """The stack says which key, and whether one that is made here survives `pulumi destroy`."""

    stack: Stack


class Encryption(pulumi.ComponentResource):
    """At most one key for all that is stored; without one, each service has its own."""

    key_arn: pulumi.Output[str] | None

    def __init__(self, name: str, args: EncryptionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Encryption", name, None, opts)
        key = args.stack.settings.encryption_key
        if key == CREATE:
            self.key_arn = self._created(name, args.stack)
        else:
            self.key_arn = None if key is None else pulumi.Output.from_input(key)
        self.register_outputs({"keyArn": self.key_arn})

    def _created(self, name: str, stack: Stack) -> pulumi.Output[str]:
        protect, alerts = stack.settings.protect, stack.settings.alerts is not None
        invoke = pulumi.InvokeOutputOptions(parent=self)
        partition = aws.get_partition_output(opts=invoke)
        policy = pulumi.Output.all(
            account=aws.get_caller_identity_output(opts=invoke).account_id,
            partition=partition.partition,
            dns_suffix=partition.dns_suffix,
        ).apply(lambda found: key_policy(region=stack.region, alerts=alerts, **found))
        key = aws.kms.Key(
            name,
            description=f"Everything that {stack.cluster_name} stores",
            enable_key_rotation=True,
            policy=pulumi.Output.json_dumps(policy),
            opts=pulumi.ResourceOptions(parent=self, protect=protect, retain_on_delete=protect),
        )
        return key.arn


def key_use(
    key_arn: pulumi.Output[str] | None, actions: Sequence[str], services: Sequence[str], region: str
) -> tuple[Allow, ...]:
    """The right to use the key through services such as `s3`, and in no other way; none without a key."""
    if key_arn is None:
        return ()
    suffix = aws.get_partition_output().dns_suffix
    through = [pulumi.Output.concat(f"{service}.{region}.", suffix) for service in services]
    return (Allow(actions=tuple(actions), resources=(key_arn,), only_if={"kms:ViaService": through}),)
