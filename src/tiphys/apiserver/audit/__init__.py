"""Audit events: who requested what, when, and with what outcome (audit.k8s.io/v1).

`policy` decides the audit level of each request. `records` follows one request through its stages
and puts its events together; `auditor` hands them to the backends: `logfile` (a file that is
rotated) and `webhook` (another server), each of which may have a `buffer` before it. `flags` are
upstream's options. `apiserver/http/auditing` wraps a server that is audited; one
that is not pays for reading one attribute.
"""
