"""At the peer: imports that nobody cares for any more.

The source drives a copy. When it dies for good, nothing in Cinder would ever end the snapshot that is `creating` here.
So the worker of this site does: as `available` when the data is there whole, else as `error`, which the user can
delete, and which a later copy of the same snapshot takes up again.
"""

from cinder import context as cinder_context
from oslo_log import log as logging

from rsnap_cinder import database
from rsnap_cinder import faults
from rsnap_cinder import incoming
from rsnap_cinder import messages
from rsnap_cinder import options
from rsnap_cinder import projects
from rsnap_cinder import records
from rsnap_cinder.database import IMPORTS

CONF = options.CONF
LOG = logging.getLogger(__name__)


def reap():
    context = cinder_context.get_admin_context()
    oldest = database.now() - CONF.rsnap.stale_after
    stale = (IMPORTS.c.current.isnot(None), IMPORTS.c.status == incoming.CREATING, IMPORTS.c.touched_at < oldest)
    for entry in database.rows(IMPORTS, *stale):
        try:
            _end(context, entry)
        except faults.Fault as fault:
            LOG.warning("Import %s cannot be ended: %s", entry.id, fault)


def _end(context, entry):
    owner = projects.owner(context, entry.project_id)
    snapshot = records.snapshot(owner, entry.snapshot_id)
    if snapshot is None:
        return incoming.forget(entry)
    if incoming.is_whole(entry, owner):
        return incoming.finish(context, entry)
    LOG.warning("Import %s of snapshot %s from %s is given up", entry.id, entry.source_snapshot_id, entry.site)
    same = (IMPORTS.c.id == entry.id, IMPORTS.c.touched_at == entry.touched_at)
    if not database.update(IMPORTS, *same, status=incoming.ERROR):
        return None
    snapshot.conditional_update({"status": records.STATUS.ERROR}, {"status": records.STATUS.CREATING})
    volume = records.volume(owner, entry.volume_id)
    if volume is not None and len(records.snapshots_of(owner, volume.id)) == 1:
        # Nothing is in it: let it be deleted.
        volume.conditional_update({"status": "error"}, {"status": records.LOCKED})
    return messages.tell(owner, snapshot.id, "stale")
