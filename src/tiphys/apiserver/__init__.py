"""The API server: HTTP front, request filters, one handler per verb, the generic registry with one
small strategy per resource, admission, discovery, OpenAPI.

A request comes in through `serving`, is named in `request`, passes the filters of `server` (by what
`requestfacts` read off it), is led by `routing` and ends in a handler (`handlers`): in `reading`
(with `views`, `lists`, `watching`, whose events go over `watchwires`), `writing` (with `bodies`,
`patches`, `parts`), `scales`, `actions` (what stores nothing), `pages` (what is no resource),
`connect` (streams to nodes) or `aggregation` (other servers; `proxying` for both). `custom` has the
custom resources. Nothing may hold the event loop, which `watchdog` watches: what is large is done
in `aside` or `workers`, large bodies wait for `places`, long answers are made in `turns` and
`bulk`. Writes go through `registry`; reads are bytes from the store's cache.
"""
