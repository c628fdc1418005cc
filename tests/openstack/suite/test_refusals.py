"""What cannot be copied is refused in words, and leaves nothing behind; the fixture looks at both sites after each."""

import contextlib

import pytest

from . import support


def refused(answer, status, says):
    assert answer.status_code == status, answer.text
    assert says in answer.text, answer.text


@contextlib.contextmanager
def limited(site, **limits):
    """The quota of the project `demo` at a site, for as long as this lasts."""
    admin, project = site.cloud("admin"), site.cloud().get_project_id()
    path = f"/os-quota-sets/{project}"
    before = admin.get(path).json()["quota_set"]

    def put(values):
        answer = admin.put(path, json={"quota_set": values})
        assert answer.status_code == 200, answer.text

    put(limits)
    try:
        yield
    finally:
        put({name: before[name] for name in limits})


def fails(source, target, snapshot, kind, says):
    """A copy that is accepted and fails: the user is told, the snapshot is as before, and the peer has nothing."""
    copy = source.end_of(source.begin_copy(snapshot, target.name))
    assert copy["status"] == "failed" and says in copy["reason"], copy
    assert source.status_of(snapshot) == "available"
    messages = source.cloud().get("/messages", microversion="3.3").json()["messages"]
    own = [message for message in messages if message["resource_uuid"] == snapshot.id]
    assert own and kind in own[0]["user_message"], messages
    assert not list(target.cloud("admin").snapshots(all_projects=True))
    assert not list(target.cloud("admin").volumes(all_projects=True))


def test_a_site_that_nobody_knows(source, target):
    snapshot = source.snapshot(source.volume("unknown"), "unknown")
    refused(source.ask_copy(snapshot, "dc9"), 400, f"There is no site dc9 to copy to; there are: {target.name}.")
    refused(source.ask_copy(snapshot, source.name), 400, "There is no site")
    assert source.status_of(snapshot) == "available"


def test_requests_of_another_shape(source):
    snapshot = source.snapshot(source.volume("shape"), "shape")
    path = f"/snapshots/{snapshot.id}/action"
    for body in ({"os-copy_to_site": {}}, {"os-copy_to_site": {"site": "../x"}}, {"os-copy_to_site": None}):
        assert source.cloud().post(path, json=body).status_code == 400
    missing = "/snapshots/00000000-0000-0000-0000-000000000000/action"
    assert source.cloud().post(missing, json={"os-copy_to_site": {"site": "dc2"}}).status_code == 404


def test_who_may_not_and_whose_it_is_not(source, target):
    snapshot = source.snapshot(source.volume("mine"), "mine")
    assert source.ask_copy(snapshot, target.name, user="looker").status_code == 403
    assert source.ask_copy(snapshot, target.name, user="other").status_code == 404
    copy = source.copied(snapshot, target.name)
    path = f"/os-snapshot-copies/{copy['id']}"
    assert source.cloud("looker").get(path).status_code == 200
    assert source.cloud("other").get(path).status_code == 404
    assert source.cloud("other").get("/os-snapshot-copies").json()["copies"] == []
    assert target.cloud().post("/os-snapshot-imports", json={"import": {}}).status_code in (400, 403)
    identity = target.query("rsnap", "select id from rsnap_imports where current is not null")[0]["id"]
    assert target.cloud().get(f"/os-snapshot-imports/{identity}").status_code == 403


def test_a_token_that_is_none(source, target):
    snapshot = source.snapshot(source.volume("token"), "token")
    cloud = source.cloud()
    address = f"{cloud.get_endpoint()}/snapshots/{snapshot.id}/action"
    body = {"os-copy_to_site": {"site": target.name}}
    answer = cloud.session.request(
        address, "POST", json=body, headers={"X-Auth-Token": "expired"}, authenticated=False, raise_exc=False
    )
    assert answer.status_code == 401


def test_a_snapshot_that_is_not_available(source, target):
    snapshot = source.snapshot(source.volume("busy"), "busy")
    admin = source.cloud("admin")
    path = f"/snapshots/{snapshot.id}/action"
    admin.post(path, json={"os-reset_status": {"status": "deleting"}})
    refused(source.ask_copy(snapshot, target.name), 409, "and is deleting")
    admin.post(path, json={"os-reset_status": {"status": "available"}})
    assert not source.query("rsnap", "select id from rsnap_copies where snapshot_id = %s", snapshot.id)


@pytest.mark.parametrize("limit", ["volumes", "snapshots", "gigabytes"])
def test_the_quota_of_the_peer(source, target, limit):
    snapshot = source.snapshot(source.volume("quota"), "quota")
    with limited(target, **{limit: {"gigabytes": 1}.get(limit, 0)}):
        fails(source, target, snapshot, "quota at the other site", "exceed")
    source.copied(snapshot, target.name)


def test_a_volume_type_that_the_peer_does_not_have(source, target):
    kind = source.cloud("admin").create_type(name="only-here")
    try:
        snapshot = source.snapshot(source.volume("typed", volume_type="only-here"), "typed")
        fails(source, target, snapshot, "refused the copy", "volume type only-here is not there")
    finally:
        source.cloud("admin").delete(f"/volumes/{snapshot.volume_id}?cascade=true")
        gone = "select id from volumes where deleted = 0 and id = %s"
        support.wait("the volume's end", lambda: not source.query("cinder", gone, snapshot.volume_id))
        source.cloud("admin").delete_type(kind)


def test_an_encrypted_volume(source, target):
    """The record as Cinder makes it for one; nothing else of it counts here, and to make one takes a key manager."""
    snapshot = source.snapshot(source.volume("secret"), "secret")
    key = "11111111-1111-1111-1111-111111111111"
    for table, identity in (("volumes", snapshot.volume_id), ("snapshots", snapshot.id)):
        source.change("cinder", f"update {table} set encryption_key_id = %s where id = %s", key, identity)
        refused(source.ask_copy(snapshot, target.name), 400, "its key does not exist at the other site")
        source.change("cinder", f"update {table} set encryption_key_id = null where id = %s", identity)
    assert source.status_of(snapshot) == "available"
    assert not source.query("rsnap", "select id from rsnap_copies where snapshot_id = %s", snapshot.id)


def test_the_peers_keystone_is_down(source, target):
    snapshot = source.snapshot(source.volume("down"), "down")
    target.do("kill", "keystone")
    try:
        copy = source.begin_copy(snapshot, target.name)
        tells = support.wait("the reason", lambda: source.copy(copy["id"])["reason"])
        assert target.name in tells and source.copy(copy["id"])["status"] in ("queued", "preparing")
    finally:
        target.do("start", "keystone")
    assert source.end_of(copy)["status"] == "done"


def test_a_copy_is_cancelled(source, target):
    snapshot = source.snapshot(source.volume("cancel"), "cancel")
    target.do("kill", "keystone")
    try:
        copy = source.begin_copy(snapshot, target.name)
        assert source.cloud().delete(f"/os-snapshot-copies/{copy['id']}").status_code == 202
    finally:
        target.do("start", "keystone")
    assert source.end_of(copy)["status"] == "cancelled"
    assert source.status_of(snapshot) == "available"
    assert source.cloud().delete(f"/os-snapshot-copies/{copy['id']}").status_code == 409
    source.copied(snapshot, target.name)


def test_the_volume_is_kept_from_being_deleted_while_it_is_copied(source, target):
    volume = source.volume("kept")
    snapshot = source.snapshot(volume, "kept")
    target.do("kill", "keystone")
    try:
        copy = source.begin_copy(snapshot, target.name)
        assert source.status_of(snapshot) == "backing-up"
        assert source.cloud().delete(f"/snapshots/{snapshot.id}").status_code == 400
        assert source.cloud().delete(f"/volumes/{volume.id}?cascade=true").status_code == 400
    finally:
        target.do("start", "keystone")
    assert source.end_of(copy)["status"] == "done"


def test_the_resolver_decides_which_site_it_is(source, target):
    """The name of the peer comes to mean this site: the copy is here, and nothing is at the peer."""
    snapshot = source.snapshot(source.volume("resolved"), "resolved")
    meant = {"sites": {target.name: source.name}}
    try:
        source.do("resolve", **meant)
        source.do("stop", "gateway")
        source.do("start", "gateway")
        copy = source.copied(snapshot, target.name)
        assert source.find_snapshot(copy["peer_snapshot_id"]).status == "available"
        assert not list(target.cloud().snapshots())
        source.do("resolve", sites={})
        source.do("stop", "gateway")
        source.do("start", "gateway")
        other = source.snapshot(source.volume("unresolved"), "unresolved")
        failed = source.end_of(source.begin_copy(other, target.name))
        assert failed["status"] == "failed" and f"knows no site {target.name}" in failed["reason"], failed
    finally:
        source.do("resolve", sites={target.name: target.name})
        source.do("stop", "gateway")
        source.do("start", "gateway")
