"""Plugins of a node: programs that announce themselves by a socket in `plugins_registry`, as
upstream's kubelet lets drivers of devices and of storage do. `watcher` finds them and hands each to
the handler of its type; `channel` speaks gRPC to one. Imports `volumes` and what is below it."""
