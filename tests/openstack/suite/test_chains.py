"""Both sites compare what they have of a volume: what the peer has lost is told with the next copy."""

from . import support


def behind_our_back(site, copy):
    """The data of a snapshot is removed where it lies; its record stays."""
    name = f"volumes/volume-{copy['peer_volume_id']}@snapshot-{copy['peer_snapshot_id']}"
    site.rbd("snap", "unprotect", name)
    site.rbd("snap", "rm", "--no-progress", name)


def deleted(site, identity):
    """As a user does it."""
    site.cloud().delete_snapshot(identity)
    left = "select id from snapshots where deleted = 0 and id = %s"
    support.wait("the snapshot's end", lambda: not site.query("cinder", left, identity))


def as_told(*copies):
    return [{"source": copy["snapshot_id"], "snapshot": copy["peer_snapshot_id"]} for copy in copies]


def test_what_the_peer_has_lost_is_told_and_can_be_copied_again(source, target):
    volume = source.volume("chain")
    snapshots = [source.snapshot(volume, f"chain-{number}") for number in range(1, 5)]
    first, second, third = (source.copied(snapshot, target.name) for snapshot in snapshots[:3])
    nothing = {kind: [] for kind in ("changed", "deleted", "broken", "only_there")}
    assert third["chain"] == {"common": as_told(first, second), **nothing, "notice": None}

    behind_our_back(target, first)
    deleted(target, second["peer_snapshot_id"])
    deleted(source, third["snapshot_id"])
    fourth = source.copied(snapshots[3], target.name)
    told = {"common": [], "changed": [], "deleted": as_told(second), "broken": as_told(first)}
    notice = fourth["chain"].pop("notice")
    assert fourth["chain"] == {**told, "only_there": as_told(third)}
    assert f"deleted at {target.name}: {second['snapshot_id']}" in notice and "their data is gone" in notice, notice

    # Asked for again, what was lost is never taken for copied.
    refused = source.end_of(source.begin_copy(snapshots[0], target.name))
    says = "its data is gone from the storage: delete it here"
    assert refused["status"] == "failed" and says in refused["reason"], refused
    deleted(target, first["peer_snapshot_id"])
    again = [source.copied(snapshot, target.name) for snapshot in snapshots[:2]]
    assert again[1]["chain"]["common"] == as_told(again[0], fourth) and again[1]["chain"]["notice"] is None
