"""The snapshot at the source while it is copied: kept from being deleted, backed up or copied once more.

Cinder knows a fixed set of statuses. `backing-up` is its word for "somebody reads this to bring it elsewhere": it
refuses what we need refused, and permits what we need permitted.

The status is in Cinder's database and the copy in ours, so one is always written first. The copy is: whoever finds a
copy without the mark that the status was taken takes it then.
"""

from cinder import context as cinder_context
from cinder import exception
from cinder import objects
from cinder.objects import fields

from rsnap_cinder import database
from rsnap_cinder import faults
from rsnap_cinder.database import COPIES

AVAILABLE = fields.SnapshotStatus.AVAILABLE
BUSY = fields.SnapshotStatus.BACKING_UP


def take(snapshot):
    """Whether the snapshot was free, and is held now."""
    return bool(snapshot.conditional_update({"status": BUSY, "progress": "0%"}, {"status": AVAILABLE}))


def note(copy_id):
    database.update(COPIES, COPIES.c.id == copy_id, holds=True)


def adopt(job):
    """Makes sure that the snapshot of a copy is held, and gives it."""
    context = cinder_context.get_admin_context()
    try:
        snapshot = objects.Snapshot.get_by_id(context, job.copy.snapshot_id)
    except exception.SnapshotNotFound:
        raise faults.SourceGone(f"snapshot {job.copy.snapshot_id} has been deleted")
    if job.copy.holds:
        if snapshot.status != BUSY:
            raise faults.SourceGone(f"snapshot {snapshot.id} was set to {snapshot.status} while it was copied")
    elif take(snapshot) or _was_taken_for_us(context, snapshot):
        job.change(holds=True)
    else:
        raise faults.SourceGone(f"snapshot {snapshot.id} is {snapshot.status}, and must be available to be copied")
    return snapshot


def _was_taken_for_us(context, snapshot):
    """Whether the interface took the status while, or before, we looked; and not a backup."""
    snapshot.refresh()
    return snapshot.status == BUSY and not _is_backed_up(context, snapshot)


def _is_backed_up(context, snapshot):
    backups = objects.BackupList.get_all(context, filters={"snapshot_id": snapshot.id, "status": "creating"})
    return bool(len(backups))


def show(snapshot, progress):
    """Lets users see how far it is."""
    snapshot.conditional_update({"progress": f"{progress}%"}, {"status": BUSY})


def give_back(job):
    """The snapshot is as it was: reading has not changed it."""
    if not job.copy.holds:
        return
    context = cinder_context.get_admin_context()
    try:
        snapshot = objects.Snapshot.get_by_id(context, job.copy.snapshot_id)
        snapshot.conditional_update({"status": AVAILABLE, "progress": "100%"}, {"status": BUSY})
    except exception.SnapshotNotFound:
        return
