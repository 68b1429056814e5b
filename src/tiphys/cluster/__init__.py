"""A cluster on this machine: certificates, kubeconfig, supervision of the components, clean
removal.

`up` prepares and starts one, `readiness` waits for it, `status` shows it, `removal` takes it down.
`plan` lists its processes, which `supervisor` keeps running and reports in a file that `components`
reads. `state` is what a cluster remembers of itself in its data directory; `sandboxes` are the
places of its nodes on this machine. `joining` makes this machine a node of a cluster elsewhere,
`controlplane` one of its control plane, with keys that `sharing` brings. `machines` makes nodes
that add-ons ask for. `layers`, `recipes` and `bytecode` make images.
"""
