"""What must hold at a site after every test: nothing on its way, nothing without its counterpart, quota as used."""

import json
import time

from .support import wait

QUIET = ("available", "maintenance", "in-use")


def settle(site):
    """Waits until nothing is on its way any more."""
    wait(f"the end of all copies of {site.name}", lambda: not active_copies(site))
    wait(f"records of {site.name} at rest", lambda: not restless(site), 120)


def active_copies(site):
    return [row["id"] for row in site.query("rsnap", "select id from rsnap_copies where active is not null")]


def restless(site):
    moving = "('creating', 'deleting', 'backing-up', 'downloading')"
    rows = site.query("cinder", f"select id from volumes where deleted = 0 and status in {moving}")
    return [*rows, *site.query("cinder", f"select id from snapshots where deleted = 0 and status in {moving}")]


def audit(site, seconds=30):
    """All that does not fit together, in words. Cinder gives quota back a moment after the record is gone, so what is
    found must still be there after a while."""
    deadline = time.monotonic() + seconds
    while (found := faults(site)) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def faults(site):
    volumes = site.query("cinder", "select * from volumes where deleted = 0")
    snapshots = site.query("cinder", "select * from snapshots where deleted = 0")
    return [
        *(f"volume {row['id']} is {row['status']}" for row in volumes if row["status"] not in QUIET),
        *(f"snapshot {row['id']} is {row['status']}" for row in snapshots if row["status"] != "available"),
        *storage(site, volumes, snapshots),
        *quota(site, volumes, snapshots),
        *imports(site),
        *(f"copy {copy} is not over" for copy in active_copies(site)),
    ]


def storage(site, volumes, snapshots):
    """Images and their snapshots against the records."""
    images = set(json.loads(site.rbd("ls", "--format", "json", "volumes")))
    wanted = {f"volume-{row['id']}" for row in volumes}
    yield from (f"image {name} has no volume" for name in images - wanted)
    yield from (f"{name} has no image" for name in wanted - images)
    for row in volumes:
        name = f"volume-{row['id']}"
        if name in images:
            listed = json.loads(site.rbd("snap", "ls", "--format", "json", f"volumes/{name}"))
            there = {one["name"] for one in listed if one["name"].startswith("snapshot-")}
            known = {f"snapshot-{one['id']}" for one in snapshots if one["volume_id"] == row["id"]}
            yield from (f"{name}@{one} has no record" for one in there - known)
            yield from (f"{name}@{one} is not there" for one in known - there)


def quota(site, volumes, snapshots):
    for usage in site.query("cinder", "select * from quota_usages where deleted = 0"):
        project, resource = usage["project_id"], usage["resource"]
        own = [row for row in volumes if row["project_id"] == project]
        its = [row for row in snapshots if row["project_id"] == project]
        used = {
            "volumes": len(own),
            "snapshots": len(its),
            "gigabytes": sum(row["size"] for row in own) + sum(row["volume_size"] for row in its),
        }.get(resource)
        if used is not None and (usage["in_use"], usage["reserved"]) != (used, 0):
            yield f"quota {resource} of {project}: {usage['in_use']} + {usage['reserved']} reserved, really {used}"


def imports(site):
    for row in site.query("rsnap", "select * from rsnap_imports where current is not null and status = 'creating'"):
        yield f"import {row['id']} is not over"
    for row in site.query("rsnap", "select * from rsnap_imports where current is not null and snapshot_id is null"):
        yield f"import {row['id']} has no snapshot"


def clear(site):
    """Deletes all that users have made, as they would: copies are released first."""
    cloud = site.cloud("admin")
    everywhere = {"all_projects": True}
    wait(f"the end of clones at {site.name}", lambda: _delete_clones(site, cloud), 120)
    for volume in list(cloud.volumes(**everywhere)):
        if volume.status in ("maintenance", "error"):
            cloud.post(f"/volumes/{volume.id}/action", json={"os-release_copy": None})
        cloud.delete(f"/volumes/{volume.id}?cascade=true")
    wait(f"an empty {site.name}", lambda: not site.query("cinder", "select id from volumes where deleted = 0"), 120)


def _delete_clones(site, cloud):
    """A snapshot with a clone cannot be deleted, so clones go first. Gives whether none is left."""
    clones = site.query("cinder", "select id from volumes where deleted = 0 and snapshot_id is not null")
    for row in clones:
        cloud.delete(f"/volumes/{row['id']}")
    return not clones
