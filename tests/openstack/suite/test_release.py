"""A volume that is taken for use has what its newest snapshot has, whatever a dead source has left in it."""

import json
import ssl
import urllib.request

from . import support
from .test_kills import MEGABYTES
from .test_kills import on_its_way
from .test_kills import whole


def uploads(site, copy):
    """What the gateway has of a snapshot that is on its way, as its operator sees it."""
    path = f"/v1/volumes/{copy['peer_volume_id']}/snapshots/{copy['peer_snapshot_id']}/uploads"
    token = (site.folder / "gateway/operator.token").read_text(encoding="utf-8")
    address = site.description["gateway"] + path
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token.strip()}"})
    trust = ssl.create_default_context(cafile=site.description["authority"])
    with urllib.request.urlopen(request, context=trust, timeout=30) as answer:
        return json.load(answer)["uploads"]


def changes(site, copy):
    """What differs in a volume from a snapshot of it."""
    image = f"volumes/volume-{copy['peer_volume_id']}"
    return site.rbd("diff", "--from-snap", f"snapshot-{copy['peer_snapshot_id']}", image)


def test_a_volume_is_released_without_what_a_dead_source_left(source, target):
    volume = source.volume("released")
    first = source.copied(source.snapshot(volume, "released-1"), target.name)
    bench = ("--io-type", "write", "--io-size", "4M", "--io-pattern", "seq", "--io-total", f"{MEGABYTES}M")
    source.rbd("bench", *bench, f"volumes/volume-{volume.id}")
    second = source.snapshot(volume, "released-2")
    copy = source.begin_copy(second, target.name)
    on_its_way(source, copy)
    source.do("kill", "worker")
    try:
        left = source.copy(copy["id"])
        given_up = "select id from snapshots where id = %s and status = 'error'"
        support.wait("the peer's patience", lambda: target.query("cinder", given_up, left["peer_snapshot_id"]))
        assert ["committed" in one for one in uploads(target, left)] == [False], "nothing was left to clean up"
        release = {"os-release_copy": None}
        answer = target.cloud().post(f"/volumes/{first['peer_volume_id']}/action", json=release)
        assert answer.status_code == 202, answer.text
        assert uploads(target, left) == []
        support.wait("a clean volume", lambda: not changes(target, first).strip())
        target.cloud().delete_snapshot(left["peer_snapshot_id"])
    finally:
        source.do("start", "worker")
    ended = source.end_of(copy)
    assert ended["peer_volume_id"] != first["peer_volume_id"], "the next copy makes another volume"
    whole(source, target, second, ended)
