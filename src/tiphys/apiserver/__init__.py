"""The API server: HTTP front, request filters, one handler per verb, the generic registry with one small strategy
per resource, admission, discovery, OpenAPI.

A request enters in `http`, is named in `request`, passes the filters of `server`, and ends in `handlers` (verbs) or
`connect` (streams to nodes). Writes go through `registry`; reads are bytes from the store's cache.
"""
