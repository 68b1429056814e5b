"""The container runtime interface: its messages, a client, and the runtime that pods run on."""
