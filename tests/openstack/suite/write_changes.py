"""write_changes.py CEPH-CONFIGURATION IMAGE NEW OLD: writes to an image what differs between two files, then makes the
old one as the new one is. A process of its own, because Ceph's library keeps threads of its own."""

import sys

import rados
import rbd

BLOCK = 64 << 10
configuration, name, new_path, old_path = sys.argv[1:]
with (
    rados.Rados(conffile=configuration) as cluster,
    cluster.open_ioctx("volumes") as pool,
    rbd.Image(pool, name) as image,
    open(new_path, "rb") as new,
    open(old_path, "r+b") as old,
):
    position = 0
    while wanted := new.read(BLOCK):
        if old.read(BLOCK) != wanted:
            image.write(wanted, position)
            old.seek(position)
            old.write(wanted)
        position += len(wanted)
        old.seek(position)
    image.flush()
