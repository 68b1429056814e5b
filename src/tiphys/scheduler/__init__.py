"""The scheduler: a columnar snapshot in, a placement out. Plugins are one file each, in one ordered list.

`snapshot` holds nodes as rows of numpy arrays, `counting` pods by row and domain, `columns` what was worked out of them;
`plugins` look at whole columns, `placement` combines them, `preemption` finds who could make room, `queue` decides who is
next, and `changes` tell who may fit now; `devices` gives claims what drivers offer; `main` talks to the API. May import
client.
"""
