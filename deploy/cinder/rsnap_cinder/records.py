"""The records of a snapshot that arrives: a volume of the owner's, made as any other, and a snapshot of it that neither
the scheduler nor the driver hears of.

The volume is made by Cinder's own API, so that back end, availability zone, quality of service and quota are right by
construction. Then it is locked with the status `maintenance`: what is in it while a snapshot arrives is not for use.
The snapshot is a row and its quota alone; its data is written under its name by the gateway.
"""

from cinder.db import api as db
from cinder import exception
from cinder import objects
from cinder.objects import fields
from cinder import quota
from cinder import quota_utils
from cinder import volume as cinder_volume
from oslo_config import cfg

from rsnap_cinder import faults
from rsnap_cinder import options

CONF = cfg.CONF
QUOTAS = quota.QUOTAS
STATUS = fields.SnapshotStatus
LOCKED = "maintenance"
# Metadata that tells users where something comes from. Nothing is decided by it.
SITE, SNAPSHOT, CREATED, VOLUME = (f"rsnap:source_{name}" for name in ("site", "snapshot", "created_at", "volume"))


def volume(context, identity):
    """A volume, or none when it has been deleted."""
    try:
        return objects.Volume.get_by_id(context, identity) if identity else None
    except exception.VolumeNotFound:
        return None


def snapshot(context, identity):
    """A snapshot, or none when it has been deleted."""
    try:
        return objects.Snapshot.get_by_id(context, identity) if identity else None
    except exception.SnapshotNotFound:
        return None


def snapshots_of(context, volume_id):
    return objects.SnapshotList.get_all_for_volume(context, volume_id)


def volume_type(owner, site, name):
    """The type here of a type there."""
    wanted = CONF[options.peer(site)].volume_types.get(name, name)
    try:
        found = objects.VolumeType.get_by_name_or_id(owner, wanted)
    except exception.NotFound:
        found = None
    allowed = found is not None and (found.is_public or owner.project_id in (found.projects or []))
    if not allowed:
        raise faults.Refused(
            f"volume type {wanted} is not there for this project: make it, or name another one in "
            f"[rsnap_site_{site}] volume_types"
        )
    if db.volume_type_encryption_get(owner.elevated(), found.id):
        raise faults.Refused(f"volume type {wanted} is encrypted here: copies of encrypted volumes are not supported")
    return found


class Reservation:
    """Quota for one snapshot, and for the growth of its volume; given back unless it was used."""

    def __init__(self, owner, kind, size, growth=0):
        self.owner = owner
        wanted = {"snapshots": 1, "gigabytes": growth}
        if not CONF.no_snapshot_gb_quota:
            wanted["gigabytes"] += size
        QUOTAS.add_volume_type_opts(owner, wanted, kind)
        try:
            self.reserved = QUOTAS.reserve(owner, **{name: count for name, count in wanted.items() if count})
        except exception.OverQuota as fault:
            quota_utils.process_reserve_over_quota(owner, fault, resource="snapshots", size=size)

    def __enter__(self):
        return self

    def __exit__(self, kind, fault, trace):
        if kind is None:
            QUOTAS.commit(self.owner, self.reserved)
        else:
            QUOTAS.rollback(self.owner, self.reserved)
        return False


def make_volume(owner, wanted, kind, mark):
    """A new volume as the source's is, without what belongs to the source's site alone."""
    source = wanted["volume"]
    metadata = {**source["metadata"], SITE: wanted["site"], VOLUME: mark}
    made = cinder_volume.API().create(
        owner,
        wanted["snapshot"]["size"],
        source["name"],
        source["description"],
        volume_type=kind,
        metadata=metadata,
    )
    if source["bootable"]:
        # Writes this column alone: cinder-volume may be changing others.
        made.bootable = True
        made.save()
    if source["image_metadata"]:
        db.volume_glance_metadata_bulk_create(owner, made.id, source["image_metadata"])
    return made


def made_before(owner, mark):
    """The volume that was made for a mark by somebody who died before it could be written down."""
    filters = {"metadata": {VOLUME: mark}}
    for found in objects.VolumeList.get_all_by_project(owner, owner.project_id, filters=filters):
        if found.attach_status == fields.VolumeAttachStatus.DETACHED and found.status in ("creating", "available"):
            return found
    return None


def make_snapshot(owner, volume, wanted):
    """The row of a snapshot. Its quota is reserved by the caller."""
    source = wanted["snapshot"]
    origin = {SITE: wanted["site"], SNAPSHOT: source["id"], CREATED: source["created_at"] or ""}
    made = objects.Snapshot(
        context=owner,
        volume_id=volume.id,
        user_id=owner.user_id,
        project_id=owner.project_id,
        status=STATUS.CREATING,
        progress="0%",
        volume_size=source["size"],
        display_name=source["name"],
        display_description=source["description"],
        volume_type_id=volume.volume_type_id,
        encryption_key_id=None,
        metadata={**source["metadata"], **origin},
    )
    made.create()
    try:
        # What cinder-volume does at the end of a snapshot: a volume that is made of it inherits these.
        db.volume_glance_metadata_copy_to_snapshot(owner, made.id, volume.id)
    except exception.GlanceMetadataNotFound:
        return made
    except Exception:
        made.destroy()
        raise
    return made


def grow(volume, size):
    """The volume was extended at the source. The quota is reserved by the caller, the image follows with the data."""
    if size > volume.size:
        volume.size = size
        volume.save()


def lock(volume, statuses):
    return bool(volume.conditional_update({"status": LOCKED}, {"status": statuses}))
