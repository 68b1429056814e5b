"""The container runtime interface: its messages, a client, the runtime that pods run on, and
`processes`, which end without it."""
