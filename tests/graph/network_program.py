"""A Pulumi program that makes the network and nothing else."""

import pulumi

from components import stack
from components.network import Network, NetworkArgs

this = stack.load()
key = this.settings.encryption_key
network = Network("network", NetworkArgs(stack=this, key_arn=pulumi.Output.from_input(key) if key else None))
pulumi.export("vpc", network.vpc_id)
pulumi.export("controlPlane", network.control_plane_subnet_ids)
pulumi.export("subnets", network.private_subnets)
pulumi.export("usable", network.private_subnet_ids)
