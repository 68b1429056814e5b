"""Revisioned key-value engines behind one protocol, and the watch cache that answers reads from
memory.

Writes enter as `Write`s and come back with a revision once they are durable; every change leaves as
a `Change`, in revision order. `encryption/` seals values, `members` are those of an etcd cluster,
`etcdclient`, `etcdwrites` and `leases` are parts of the engine on etcd, `deadlines` end what takes
too long. May import machinery, and the task group of client.
"""
