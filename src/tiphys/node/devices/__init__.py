"""Devices of a node on containerd: what drivers have, which containers got it, and how it gets into
them.

Drivers are of two kinds. A device plugin (`deviceplugins`) counts its devices as a resource of the
node; `devicemanager` chooses some for a container and asks the plugin what the container needs. A
DRA driver (`draplugins`) prepares what the scheduler has allocated to a claim; `claims` asks it to,
once for all pods that share the claim. Both come in through `tiphys.node.plugins`, and both end as
`ContainerEdits`: variables, mounts, device files. `cdi` reads the files in which drivers describe
those, where the runtime is too old to do so. `nodedevices` is what pods' workers see of all this.

Imports `plugins` and what is below it; `pod` and `agent` import it.
"""
