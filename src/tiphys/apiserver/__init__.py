"""The API server: HTTP front, request filters, one handler per verb, the generic registry with one small strategy
per resource, admission, discovery, OpenAPI.

A request is named in `request`, passes the filters of `server`, and ends in `reading`, `writing`, `actions` (what stores
nothing), `connect` (streams to nodes) or `aggregation` (other servers). `custom` has the custom resources.
Writes go through `registry`; reads are bytes from the store's cache.
"""
