"""The whole system, top to bottom: what `pulumi up` creates for one environment."""

import pulumi

from components import stack
from components.access_policies import AccessPolicies, AccessPoliciesArgs
from components.addons import Addons, AddonsArgs
from components.cluster import Cluster, ClusterArgs
from components.collector import Collector, CollectorArgs
from components.documents import Documents, DocumentsArgs
from components.encryption import Encryption, EncryptionArgs
from components.image import Image, ImageArgs
from components.keda import Keda, KedaArgs
from components.model import Model, ModelArgs
from components.model_queue import ModelQueue, ModelQueueArgs
from components.model_store import ModelStore, ModelStoreArgs
from components.namespaces import Namespaces
from components.network import Network, NetworkArgs
from components.node_addons import NodeAddons, NodeAddonsArgs
from components.nodes import Nodes, NodesArgs
from components.platform import Platform
from components.pod_rules import PodRules, PodRulesArgs
from components.service import Service, ServiceArgs
from components.watch import Watch, WatchArgs

this = stack.load()
models = this.settings.models

key_arn = Encryption("encryption", EncryptionArgs(stack=this)).key_arn
image = Image("image", ImageArgs(stack=this, key_arn=key_arn))
network = Network("network", NetworkArgs(stack=this, key_arn=key_arn))
cluster = Cluster("cluster", ClusterArgs(stack=this, network=network, key_arn=key_arn))
node_addons = NodeAddons("node-addons", NodeAddonsArgs(cluster=cluster))
nodes = Nodes(
    "nodes",
    NodesArgs(stack=this, network=network, cluster=cluster, node_addons=node_addons, key_arn=key_arn),
)

documents = Documents("documents", DocumentsArgs(stack=this, key_arn=key_arn))
queues = {
    model.name: ModelQueue(model.name, ModelQueueArgs(model=model, documents=documents)) for model in models
}

addons = Addons(
    "addons",
    AddonsArgs(stack=this, cluster=cluster, nodes=nodes),
    pulumi.ResourceOptions(provider=cluster.provider),
)
# Created after the driver that mounts the store. Deleted before it: only the namespaces, and the claims in
# them, wait until the last pod is gone.
on_addons = pulumi.ResourceOptions(provider=cluster.provider, depends_on=[addons])
namespaces = Namespaces("namespaces", on_addons)
keda = Keda(
    "keda",
    KedaArgs(stack=this, cluster=cluster, namespaces=namespaces, queues=tuple(queues.values())),
    on_addons,
)
store = ModelStore(
    "models",
    ModelStoreArgs(stack=this, network=network, cluster=cluster, namespaces=namespaces, key_arn=key_arn),
    pulumi.ResourceOptions(provider=cluster.provider),
)
Watch("watch", WatchArgs(stack=this, nodes=nodes, store=store, queues=queues, key_arn=key_arn))

platform = Platform(
    stack=this,
    image=image,
    cluster=cluster,
    namespaces=namespaces,
    store=store,
    documents=documents,
    keda=keda,
    pod_rules=PodRules("pod-rules", PodRulesArgs(namespaces=namespaces), on_addons),
)
if this.settings.collect_models:
    Collector("collector", CollectorArgs(platform=platform), on_addons)
for model in models:
    queue = queues[model.name]
    ready = Model(model.name, ModelArgs(platform=platform, model=model), on_addons)
    Service(model.name, ServiceArgs(platform=platform, model=model, queue=queue, ready=ready), on_addons)

access = AccessPolicies(
    "access", AccessPoliciesArgs(stack=this, documents=documents, queues=tuple(queues.values()))
)

pulumi.export("documents", documents.documents.bucket)
pulumi.export("results", documents.results.bucket)
pulumi.export("uploaders", access.uploaders)
pulumi.export("readers", access.readers)
pulumi.export("cluster", cluster.name)
# What a program of yours needs to put a model of this stack beside its own container: examples/own_container.
pulumi.export(
    "serving",
    {
        "namespace": namespaces.serving,
        "readClaim": store.read_claim,
        "priorityClass": platform.pod_rules.priority_class,
        "image": image.reference,
        "models": {model.name: model.spec.to_json() for model in models},
    },
)
