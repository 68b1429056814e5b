"""What a pod's status reports, computed from its spec, what the runtime shows and what the node
remembers. Pure."""
