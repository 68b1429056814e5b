"""From objects to routes: pure. `tables.compile_routes` is the way in.

`objects` is what is read of a cluster, `cluster` answers questions about it; `ingresses` and `groups` make routes of one
kind of object each, out of what `hosts`, `traffic`, `redirects` and `annotating` give both. The rules are those of Skipper's
data client for Kubernetes (zalando/skipper, dataclients/kubernetes), whose test cases ours are held against.
"""
