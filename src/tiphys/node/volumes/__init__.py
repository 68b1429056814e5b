"""What containers mount.

`podvolumes` prepares it: `projection` writes the files of objects, `subpaths` opens parts of
volumes, `podfiles` keeps hosts files and termination logs; all of it through open handles
(`machinery.handles`), for containers write there, too.
"""
