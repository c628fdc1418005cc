"""What both sites have of one volume.

With each copy the source tells what it knows to have been copied, and the peer answers what it has of it. That is for
people: what a transfer starts from is decided by the gateways, by content, which no list of names can prove. But a base
that was deleted at the peer, or a record there whose data is gone, is better read in the next copy than on the day of a
disaster. A question of its own, apart from the copy, was refused: nobody would ask it.
"""

import jsonschema

from cinder import context as cinder_context

from rsnap_cinder import database
from rsnap_cinder import gateway
from rsnap_cinder import jobs
from rsnap_cinder import records
from rsnap_cinder import schemas
from rsnap_cinder.database import COPIES, IMPORTS

# Most copies that are told and listed: a request to Cinder may have 112 KiB.
MOST = 500
COMMON, CHANGED, DELETED, BROKEN, ONLY_THERE = schemas.KINDS_OF_CHAIN
NOTICES = {
    CHANGED: "{site} has in another volume or under another id",
    DELETED: "deleted at {site}",
    BROKEN: "recorded at {site}, but their data is gone: delete them there, and copy them again",
}


def told(copy):
    """At the source: the snapshots that are here and were copied to the site, but for the one that is being copied."""
    known = records.snapshots_of(cinder_context.get_admin_context(), copy.volume_id)
    here = {one.id for one in known} - {copy.snapshot_id}
    same = (COPIES.c.volume_id == copy.volume_id, COPIES.c.site == copy.site, COPIES.c.status == jobs.DONE)
    found = {row.snapshot_id: row.peer_snapshot_id for row in jobs.listed(same) if row.snapshot_id in here}
    copies = [{"source": source, "snapshot": snapshot} for source, snapshot in found.items() if snapshot]
    return {"complete": len(copies) <= MOST, "copies": copies[-MOST:]}


def answer(entry, volume, wanted):
    """At the peer: what it has of that, and what else it has in the volume of an import."""
    same = (IMPORTS.c.site == entry.site, IMPORTS.c.source_volume_id == entry.source_volume_id)
    rows = database.rows(IMPORTS, *same, IMPORTS.c.current.isnot(None), IMPORTS.c.id != entry.id)
    context = cinder_context.get_admin_context()
    listed = [one for place in {row.volume_id for row in rows} for one in records.snapshots_of(context, place)]
    shown = {one.id for one in listed if one.status == records.STATUS.AVAILABLE}
    known = {row.source_snapshot_id: (row.volume_id, row.snapshot_id) for row in rows if row.snapshot_id in shown}
    return compare(wanted, known, entry.volume_id, gateway.snapshots(volume.name_id))


def compare(wanted, known, volume, whole):
    """`known`: volume and snapshot here by the snapshot there. `whole`: the snapshots whose data is in the volume."""
    found = {kind: [] for kind in schemas.KINDS_OF_CHAIN}
    for one in wanted["copies"]:
        found[_kind(one, known.get(one["source"]), volume, whole)].append(one)
    named = {one["source"] for one in wanted["copies"]}
    for source, (place, snapshot) in known.items():
        if place == volume and source not in named and wanted["complete"]:
            kind = ONLY_THERE if snapshot in whole else BROKEN
            found[kind].append({"source": source, "snapshot": snapshot})
    return {kind: listed[:MOST] for kind, listed in found.items()}


def _kind(one, there, volume, whole):
    if there is None:
        return DELETED
    if there != (volume, one["snapshot"]):
        return CHANGED
    return COMMON if one["snapshot"] in whole else BROKEN


def noticed(site, chain):
    """At the source: an answer as it is kept with the copy; none for what is no such answer."""
    try:
        jsonschema.validate(chain, schemas.CHAIN)
    except jsonschema.ValidationError:
        return None
    texts = []
    for kind, words in NOTICES.items():
        names = ", ".join(f"{one['source']} (there {one['snapshot']})" for one in chain[kind])
        if names:
            texts.append(f"{words.format(site=site)}: {names}")
    return {**chain, "notice": "; ".join(texts) or None}
