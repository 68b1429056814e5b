"""The scheduler: a columnar snapshot in, a placement out. Plugins are one file each, in one ordered list.

`snapshot` holds nodes as rows of numpy arrays, `plugins` look at whole columns, `placement` combines them,
`queue` decides who is next, and `changes` tell who may fit now; `devices` gives claims what drivers offer; `main` talks to
the API. May import client.
"""
