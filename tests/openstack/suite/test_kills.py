"""Each service is killed once in the middle of a copy, and started again. The copy then succeeds: every step of it can
be repeated. Cinder's API, scheduler and volume service are one process here, and so are killed together."""

import pytest

from . import support

MEGABYTES = 256


def filled(source, name):
    """A volume with so much in it that its copy can be met on its way."""
    volume = source.volume(name)
    image = f"volumes/volume-{volume.id}"
    bench = ("--io-type", "write", "--io-size", "4M", "--io-pattern", "seq", "--io-total", f"{MEGABYTES}M")
    source.rbd("bench", *bench, image)
    return source.snapshot(volume, name)


def digest(site, volume, snapshot):
    """What Ceph says is in a snapshot, as extents and their content."""
    exported = site.folder / "exported"
    exported.unlink(missing_ok=True)
    site.rbd("export", "--no-progress", f"volumes/volume-{volume}@snapshot-{snapshot}", str(exported))
    try:
        return support.file_digest(exported)
    finally:
        exported.unlink()


def on_its_way(source, copy):
    """Waits until bytes move; fails when the moment was missed."""
    query = "select status, progress from rsnap_copies where id = %s"

    def moves():
        row = source.query("rsnap", query, copy["id"])[0]
        assert row["status"] not in support.OVER, "the copy was over before anything could be killed"
        return row["status"] == "sending"

    support.wait("bytes that move", moves)


def whole(source, target, snapshot, copy):
    assert copy["status"] == "done", copy
    wanted = digest(source, snapshot.volume_id, snapshot.id)
    assert digest(target, copy["peer_volume_id"], copy["peer_snapshot_id"]) == wanted
    assert source.status_of(snapshot) == "available"


@pytest.mark.parametrize("server", ["cinder", "worker", "gateway", "etcd", "keystone", "haproxy"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_service_that_is_killed_in_the_middle_costs_time_and_nothing_else(source, target, side, server):
    snapshot = filled(source, f"kill-{server}")
    copy = source.begin_copy(snapshot, target.name)
    on_its_way(source, copy)
    victim = source if side == "source" else target
    victim.do("kill", server)
    victim.do("start", server)
    whole(source, target, snapshot, source.end_of(copy))


def test_a_source_that_is_gone_for_good_leaves_nothing_that_is_creating(source, target):
    """The worker and the API of the source are down for longer than the peer waits."""
    snapshot = filled(source, "gone")
    copy = source.begin_copy(snapshot, target.name)
    on_its_way(source, copy)
    source.do("kill", "worker")
    try:
        query = "select id, status from snapshots where deleted = 0"
        support.wait(
            "the peer's patience", lambda: [row["status"] for row in target.query("cinder", query)] == ["error"]
        )
        identity = target.query("cinder", query)[0]["id"]
        messages = target.cloud("admin").get("/messages?all_tenants=1", microversion="3.3").json()["messages"]
        assert any(message["resource_uuid"] == identity for message in messages), messages
        volume = target.query("cinder", "select status from volumes where deleted = 0")[0]
        assert volume["status"] == "error", "a volume with nothing in it can be deleted"
    finally:
        source.do("start", "worker")
    whole(source, target, snapshot, source.end_of(copy))


def test_a_snapshot_that_is_deleted_behind_our_back_is_never_shown(source, target):
    snapshot = filled(source, "vanish")
    copy = source.begin_copy(snapshot, target.name)
    on_its_way(source, copy)
    admin = source.cloud("admin")
    admin.post(f"/snapshots/{snapshot.id}/action", json={"os-reset_status": {"status": "available"}})
    admin.post(f"/snapshots/{snapshot.id}/action", json={"os-force_delete": {}})
    ended = source.end_of(copy)
    shown = [row["status"] for row in target.query("cinder", "select status from snapshots where deleted = 0")]
    if ended["status"] == "done":
        # It was whole before it was gone.
        assert shown == ["available"]
    else:
        assert ended["status"] == "failed" and shown == [], (ended, shown)
