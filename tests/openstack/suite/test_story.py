"""What the product is for: a user copies snapshots, and finds them at the other site."""

import json
import subprocess
import sys

from . import disk
from . import support

MEGABYTE = 1 << 20


def openstack(site, *arguments):
    """The stock command, as JSON."""
    command = [sys.executable, "-m", "openstackclient.shell", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=site.environment())
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_a_user_copies_the_first_and_the_fourth_snapshot_and_finds_them_there(source, target, tmp_path):
    volume = source.volume("story", metadata={"colour": "blue"}, description="of the story")
    source.cloud().set_volume_bootable_status(volume, True)
    source.cloud().post(
        f"/volumes/{volume.id}/action", json={"os-set_image_metadata": {"metadata": {"os_distro": "debian"}}}
    )
    drive, snapshots, contents = disk.Disk(tmp_path), [], []
    for number in range(1, 5):
        drive.put(f"file-{number}", 24 if number == 1 else 4, number)
        drive.write_to(source, volume)
        snapshots.append(source.snapshot(volume, f"snapshot-{number}", metadata={"number": str(number)}))
        contents.append(dict(drive.files))
    proxied, received = target.proxied(), target.received()
    first = source.copied(snapshots[0], target.name)
    received_first = target.received() - received
    fourth = source.copied(snapshots[3], target.name)
    received_fourth = target.received() - received - received_first

    assert first["peer_volume_id"] == fourth["peer_volume_id"], "the second copy made another volume"
    listed = openstack(target, "volume", "snapshot", "list", "-f", "json")
    seen = {(row["Name"], row["Status"]) for row in listed}
    assert seen == {("snapshot-1", "available"), ("snapshot-4", "available")}
    shown = openstack(target, "volume", "snapshot", "show", fourth["peer_snapshot_id"], "-f", "json")
    assert shown["properties"]["number"] == "4", shown
    assert shown["properties"]["rsnap:source_snapshot"] == snapshots[3].id

    # 24 MiB of files, then 12 MiB more: the second is an increment, and neither went through HAProxy.
    assert received_first > 24 * MEGABYTE and 12 * MEGABYTE < received_fourth < 20 * MEGABYTE
    through = {name: count - proxied[name] for name, count in target.proxied().items()}
    assert sum(through.values()) < MEGABYTE, through

    taken = target.cloud().get_volume(fourth["peer_volume_id"])
    assert (taken.status, taken.name, taken.size, taken.is_bootable) == ("maintenance", "story", 1, True)
    assert taken.metadata["colour"] == "blue" and taken.description == "of the story"
    assert taken.volume_type == source.cloud().get_volume(volume.id).volume_type
    assert taken.source_volume_id is None and taken.snapshot_id is None

    for copy, files in ((first, contents[0]), (fourth, contents[3])):
        snapshot = target.find_snapshot(copy["peer_snapshot_id"])
        clone = target.clone(snapshot, "restored")
        assert clone.is_bootable
        assert target.cloud().get_volume(clone.id).volume_image_metadata["os_distro"] == "debian"
        disk.check(disk.read_back(target, f"volume-{clone.id}", tmp_path), files, tmp_path)
    assert source.status_of(snapshots[0]) == "available"


def test_a_copy_that_is_asked_for_again_is_the_same_one(source, target):
    volume = source.volume("again")
    snapshot = source.snapshot(volume, "again")
    first = source.begin_copy(snapshot, target.name)
    assert source.begin_copy(snapshot, target.name)["id"] == first["id"]
    first = source.end_of(first)
    again = source.copied(snapshot, target.name)
    assert again["id"] != first["id"] and again["peer_snapshot_id"] == first["peer_snapshot_id"]
    assert len(list(target.cloud().snapshots())) == 1


def test_copies_of_several_volumes_run_at_once_and_those_of_one_in_turn(source, target):
    volumes = [source.volume(f"many-{number}") for number in range(3)]
    snapshots = [source.snapshot(volume, f"{volume.name}-{turn}") for volume in volumes for turn in "ab"]
    copies = [source.begin_copy(snapshot, target.name) for snapshot in snapshots]
    ended = [source.end_of(copy) for copy in copies]
    assert [copy["status"] for copy in ended] == ["done"] * 6, ended
    assert len({copy["peer_volume_id"] for copy in ended}) == 3


def test_what_is_there_may_be_released_deleted_and_copied_again(source, target):
    volume = source.volume("cycle")
    snapshot = source.snapshot(volume, "cycle")
    first = source.copied(snapshot, target.name)
    cloud = target.cloud()
    assert cloud.delete(f"/volumes/{first['peer_volume_id']}?cascade=true").status_code == 400, "it is locked"
    cloud.delete_snapshot(first["peer_snapshot_id"])
    support.wait("the snapshot's end", lambda: not list(cloud.snapshots()))
    second = source.copied(snapshot, target.name)
    assert second["peer_volume_id"] == first["peer_volume_id"]
    assert second["peer_snapshot_id"] != first["peer_snapshot_id"]
    action = f"/volumes/{first['peer_volume_id']}/action"
    assert cloud.post(action, json={"os-release_copy": None}).status_code == 202
    assert cloud.get_volume(first["peer_volume_id"]).status == "available"
    assert cloud.post(action, json={"os-release_copy": None}).status_code == 400
