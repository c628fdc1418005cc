"""After a disaster: what was copied comes back, in full at first and by its changes afterwards."""

from . import audit
from . import disk

MEGABYTE = 1 << 20


def test_snapshots_come_back_to_a_site_that_was_built_anew(source, target, tmp_path):
    volume, drive = source.volume("precious"), disk.Disk(tmp_path)
    snapshots, contents = [], []
    for number in range(1, 3):
        drive.put(f"file-{number}", 24 if number == 1 else 4, 100 + number)
        drive.write_to(source, volume)
        snapshots.append(source.snapshot(volume, f"precious-{number}"))
        contents.append(dict(drive.files))
    there = [source.copied(snapshot, target.name) for snapshot in snapshots]

    # The disaster: nothing of it is left at the source.
    audit.clear(source)
    assert not list(source.cloud().volumes())

    received, moved, back = source.received(), [], []
    for copy in there:
        back.append(target.copied(target.find_snapshot(copy["peer_snapshot_id"]), source.name))
        moved.append(source.received() - received - sum(moved))
    assert moved[0] > 24 * MEGABYTE and 4 * MEGABYTE < moved[1] < 12 * MEGABYTE, moved
    assert back[0]["peer_volume_id"] == back[1]["peer_volume_id"]
    for copy, files in zip(back, contents, strict=True):
        snapshot = source.find_snapshot(copy["peer_snapshot_id"])
        clone = source.clone(snapshot, "recovered")
        disk.check(disk.read_back(source, f"volume-{clone.id}", tmp_path), files, tmp_path)

    # Taken for use, the volume is one like any other, and can be copied from once more.
    source.cloud().post(f"/volumes/{back[1]['peer_volume_id']}/action", json={"os-release_copy": None})
    released = source.cloud().get_volume(back[1]["peer_volume_id"])
    assert released.status == "available"
    later = source.snapshot(released, "later")
    assert source.copied(later, target.name)["status"] == "done"
