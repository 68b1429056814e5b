"""The node agent: what a kubelet does. Pods bound to this node run, are probed, restarted, stopped
and reported.

`agent` has a worker (`pod/`) for each pod of the node, and `registration` keeps the Node object.
`runtime.Runtime` is what is asked of a container runtime: `cri` is containerd over CRI, `hollow`
has no containers and only their life cycle. What they show is in `states`. What the workers share
is in `nodecontext`: the runtime, `references` to other objects, `naming`, `isolation`. A node's
settings are in `options` and `configuration`; `podadmission` says which pods it takes. What is
started next is in `startqueue`, when what pods leave behind is removed in `quiet`, and what a pod's
parts call once it is gone in `silence`. `metrics` and `podmetrics` count. `hugepages` says which
sizes of them the machine has.

The folders, each imports only those below it (`pyproject.toml`):

podresources
            which container has which devices, cores and memory: a socket for monitoring
shutdown    pods end by priority before the machine does
staticpods  pods of manifests in a folder, and their mirrors
pod         a pod's worker and its parts, and `lifecycle`: what to do
server      logs, exec, attach, port-forward, and pages
status      what is reported
managers    cores and NUMA nodes for those that have them alone
csi, devices
            volumes of CSI drivers, and devices
plugins     programs that announce themselves by a socket
volumes, probes
resources   admission, resizing, control groups, pressure
containers  environment, logs, records, restarts
images      names, credentials, pulling

May import client.
"""
