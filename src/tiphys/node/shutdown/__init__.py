"""What a node does when its machine shuts down: its pods end in the order of their priority.

`periods` is who has how long, `nodeshutdown` ends the pods, `logind` is notified by systemd that
the machine is about to go. A machine without it says so by SIGTERM to the node's process.
"""
