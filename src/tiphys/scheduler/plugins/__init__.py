"""The scheduler's plugins, one a file, named after upstream's.

`base` says what a plugin is, `registry` makes those of a profile in upstream's order. Plugins look
at the node snapshot, the pod and what listers know; they do not know each other, the queue or the
API.
"""
