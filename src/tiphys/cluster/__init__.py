"""A cluster on this machine: certificates, kubeconfig, supervision of the components, clean
removal.

`up` and `down` are its verbs; `state` is what a cluster remembers of itself in its data directory;
`sandboxes` are the places of its nodes on this machine.
"""
