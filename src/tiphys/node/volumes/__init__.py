"""What containers mount.

`growth` follows volumes that have become larger. `podvolumes` prepares what is mounted:
`projection` writes the files of objects, `subpaths` opens parts of volumes, `podfiles` keeps hosts
files and termination logs; all of it through open handles (`machinery.handles`), for containers
write there, too.
"""
