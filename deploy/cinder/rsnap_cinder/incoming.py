"""What the peer does for a copy: make its records, permit its transfer, end it.

Every step can be repeated, and takes up what an earlier try that died has left: a source that heard no answer asks
again. Rows of ours are written before records of Cinder's, so that nothing in Cinder is without a row that knows of it.
"""

from cinder import volume as cinder_volume
from cinder.volume import volume_utils

from rsnap_cinder import chains
from rsnap_cinder import database
from rsnap_cinder import faults
from rsnap_cinder import gateway
from rsnap_cinder import projects
from rsnap_cinder import records
from rsnap_cinder.database import IMPORTS, VOLUMES

STATUS = records.STATUS
CREATING, AVAILABLE, ERROR = "creating", "available", "error"
# How long somebody who makes a volume may be silent before another one does it.
MAKING_SECONDS = 60
GIGABYTE = 1 << 30


def receive(context, wanted):
    """The import of a snapshot, with all its records: new ones, or those that are there."""
    project = projects.local(wanted["site"], wanted["project"])
    owner = projects.owner(context, project)
    kind = records.volume_type(owner, wanted["site"], wanted["volume"]["type"])
    entry = _entry(wanted, project)
    snapshot = records.snapshot(owner, entry.snapshot_id)
    if entry.snapshot_id and snapshot is None:
        forget(entry)
        return receive(context, wanted)
    if snapshot is None:
        entry = _make(owner, wanted, kind, entry)
    elif snapshot.status == STATUS.ERROR:
        snapshot.conditional_update({"status": STATUS.CREATING, "progress": "0%"}, {"status": STATUS.ERROR})
        _change(entry, status=CREATING)
    _change(entry, copy_id=wanted["copy_id"])
    return row(entry.id)


def row(identity):
    return database.row(IMPORTS, IMPORTS.c.id == identity, IMPORTS.c.current.isnot(None))


def forget(entry):
    """The record in Cinder is no more."""
    database.update(IMPORTS, IMPORTS.c.id == entry.id, current=None)


def _change(entry, **values):
    database.update(IMPORTS, IMPORTS.c.id == entry.id, touched_at=database.now(), **values)


def _entry(wanted, project):
    """The row for a snapshot of another site, new or not."""
    current = f"{wanted['site']}/{wanted['snapshot']['id']}"
    now = database.now()
    database.insert(
        IMPORTS,
        id=database.new_id(),
        current=current,
        site=wanted["site"],
        copy_id=wanted["copy_id"],
        source_volume_id=wanted["volume"]["id"],
        source_snapshot_id=wanted["snapshot"]["id"],
        project_id=project,
        status=CREATING,
        touched_at=now,
        created_at=now,
    )
    return database.row(IMPORTS, IMPORTS.c.current == current)


def _make(owner, wanted, kind, entry):
    place = _place(wanted, owner.project_id)
    volume = records.volume(owner, place.volume_id)
    if place.volume_id and volume is None:
        database.update(VOLUMES, VOLUMES.c.id == place.id, current=None)
        return _make(owner, wanted, kind, entry)
    size = wanted["snapshot"]["size"]
    try:
        growth = max(0, size - volume.size) if volume else 0
        with records.Reservation(owner, kind.id, size, growth):
            volume = volume or _make_volume(owner, wanted, kind, place)
            snapshot = records.make_snapshot(owner, volume, wanted)
            _change(entry, volume_id=volume.id, snapshot_id=snapshot.id)
            records.grow(volume, size)
    except Exception:
        _give_up(owner, entry, place)
        raise
    return row(entry.id)


def _give_up(owner, entry, place):
    """Nothing may be left of records that could not be made."""
    entry = row(entry.id)
    snapshot = records.snapshot(owner, entry.snapshot_id)
    if snapshot is not None:
        snapshot.destroy()
    forget(entry)
    database.delete(VOLUMES, VOLUMES.c.id == place.id, VOLUMES.c.volume_id.is_(None))


def _place(wanted, project):
    """The row for the volume that takes the snapshots of a volume of another site."""
    current = f"{wanted['site']}/{wanted['volume']['id']}/{project}"
    now = database.now()
    is_new = database.insert(VOLUMES, id=database.new_id(), current=current, touched_at=now, created_at=now)
    place = database.row(VOLUMES, VOLUMES.c.current == current)
    if place is None:
        return _place(wanted, project)
    if not is_new and place.volume_id is None:
        stale = (VOLUMES.c.id == place.id, VOLUMES.c.touched_at == place.touched_at)
        is_alone = now - place.touched_at > MAKING_SECONDS and database.update(VOLUMES, *stale, touched_at=now)
        if not is_alone:
            raise faults.Unreachable("the volume for this copy is being made for another one: ask again")
    return place


def _make_volume(owner, wanted, kind, place):
    mark = place.id
    volume = records.made_before(owner, mark) or records.make_volume(owner, wanted, kind, mark)
    database.update(VOLUMES, VOLUMES.c.id == place.id, volume_id=volume.id)
    return volume


def place_of(volume_id):
    """The row of a volume that takes snapshots of another site, or none."""
    return database.row(VOLUMES, VOLUMES.c.volume_id == volume_id, VOLUMES.c.current.isnot(None))


def check_whole(context, entry):
    """What is shown here must have its data: a source that asks again would take it for copied."""
    if not is_whole(entry, projects.owner(context, entry.project_id)):
        raise faults.Refused(
            f"snapshot {entry.snapshot_id} is recorded here, but its data is gone from the storage: delete it here, "
            "and copy it again"
        )


def compared(context, entry, chain):
    """What is here of what the source knows to have been copied; nothing for a source that does not tell it."""
    volume = records.volume(projects.owner(context, entry.project_id), entry.volume_id)
    return chains.answer(entry, volume, chain) if chain and volume else None


def permit(context, entry):
    """Gateway and ticket for the transfer; none as long as the volume is not ready for it."""
    owner = projects.owner(context, entry.project_id)
    volume = records.volume(owner, entry.volume_id)
    snapshot = records.snapshot(owner, entry.snapshot_id)
    if volume is None or snapshot is None:
        raise faults.Refused(f"volume {entry.volume_id} was deleted here while a snapshot of it was copied")
    if not _is_locked(volume):
        return None
    size = snapshot.volume_size * GIGABYTE
    answer = gateway.permission(volume.name_id, snapshot.id, size, entry.project_id)
    return {"volume": volume.name_id, "snapshot": snapshot.id, "answer": answer}


def _is_locked(volume):
    place = place_of(volume.id)
    if volume.status == records.LOCKED:
        return True
    if volume.status == "creating":
        return False
    if place is not None and not place.prepared and volume.status == "available":
        locked = records.lock(volume, "available")
        if locked:
            database.update(VOLUMES, VOLUMES.c.id == place.id, prepared=True)
        return locked
    if place is not None and place.prepared and volume.status == "error":
        return records.lock(volume, "error")
    if volume.status == "error":
        raise faults.Refused(f"volume {volume.id} could not be made there: its messages tell why")
    raise faults.Refused(
        f"volume {volume.id} is {volume.status} there and takes no snapshots: with os-release_copy it is yours, and "
        "the next copy makes another one"
    )


def progress(context, entry, text):
    """Lets users of the peer see how far it is; also the sign that the source still cares."""
    snapshot = records.snapshot(projects.owner(context, entry.project_id), entry.snapshot_id)
    if snapshot is None:
        raise faults.Refused(f"snapshot {entry.snapshot_id} was deleted here while it was copied")
    snapshot.conditional_update({"progress": text}, {"status": STATUS.CREATING})
    _change(entry)


def finish(context, entry):
    """Shows the snapshot, once the gateway has it whole."""
    owner = projects.owner(context, entry.project_id)
    snapshot = records.snapshot(owner, entry.snapshot_id)
    volume = records.volume(owner, entry.volume_id)
    if snapshot is None or volume is None:
        raise faults.Refused(f"snapshot {entry.snapshot_id} was deleted here while it was copied")
    if snapshot.id not in gateway.snapshots(volume.name_id):
        raise faults.TransferBroken(f"the gateway does not have snapshot {snapshot.id} of volume {volume.name_id}")
    shown = {"status": STATUS.AVAILABLE, "progress": "100%"}
    if snapshot.conditional_update(shown, {"status": (STATUS.CREATING, STATUS.ERROR)}):
        volume_utils.notify_about_snapshot_usage(owner, snapshot, "create.end")
    # A volume that was given up before its first snapshot was found to be there.
    records.lock(volume, "error")
    _change(entry, status=AVAILABLE)


def is_whole(entry, context):
    """Whether the data of an import is there, whatever its source thinks."""
    volume = records.volume(context, entry.volume_id)
    return volume is not None and entry.snapshot_id in gateway.snapshots(volume.name_id)


def remove(context, entry):
    """Takes back an import that is given up; to be repeated until it is gone. Gives whether it is gone."""
    owner = projects.owner(context, entry.project_id)
    snapshot = records.snapshot(owner, entry.snapshot_id)
    volume = records.volume(owner, entry.volume_id)
    if snapshot is None:
        forget(entry)
        return True
    if volume.status == "creating":
        return False
    others = [one for one in records.snapshots_of(owner, volume.id) if one.id != snapshot.id]
    snapshot.conditional_update({"status": STATUS.ERROR}, {"status": STATUS.CREATING})
    snapshot.refresh()
    gateway.give_up(volume.name_id, snapshot.id, snapshot.volume_size * GIGABYTE, owner.project_id)
    if others or place_of(volume.id) is None:
        _delete_snapshot(owner, snapshot)
    else:
        _delete_volume(owner, volume)
    return False


def _delete_snapshot(owner, snapshot):
    if snapshot.status == STATUS.ERROR:
        cinder_volume.API().delete_snapshot(owner, snapshot)


def _delete_volume(owner, volume):
    """With its snapshot. Its image may be busy for as long as the gateway notices that nobody sends any more."""
    volume.conditional_update({"status": "error"}, {"status": (records.LOCKED, "available", "error_deleting")})
    volume.refresh()
    if volume.status == "error":
        cinder_volume.API().delete(owner, volume, cascade=True)


def _end_transfers(volume):
    """What a source that died has left in the volume must not be taken for its content, even where the snapshot has
    been deleted since."""
    left = database.rows(IMPORTS, IMPORTS.c.volume_id == volume.id, IMPORTS.c.status != AVAILABLE)
    for entry in left:
        gateway.give_up(volume.name_id, entry.snapshot_id, volume.size * GIGABYTE, entry.project_id)


def release(context, volume):
    """A volume that takes snapshots becomes one like any other."""
    place = place_of(volume.id)
    if place is None:
        raise faults.Refused(f"volume {volume.id} takes no snapshots of another site")
    running = database.rows(IMPORTS, IMPORTS.c.volume_id == volume.id, IMPORTS.c.status == CREATING)
    for entry in running:
        snapshot = records.snapshot(context.elevated(), entry.snapshot_id)
        if snapshot is not None and snapshot.status == STATUS.CREATING:
            raise faults.Refused(f"snapshot {snapshot.id} of volume {volume.id} is just being copied: wait, or cancel")
    _end_transfers(volume)
    if not volume.conditional_update({"status": "available"}, {"status": (records.LOCKED, "error")}):
        raise faults.Refused(f"volume {volume.id} is {volume.status}")
    database.update(VOLUMES, VOLUMES.c.id == place.id, current=None)
