"""Cinder may show its gateway a certificate instead of a token: it is enough for all that a copy needs, and it counts
as long as it stands in `auth.certificates`."""

import contextlib
import json

import pytest

from . import certificates
from . import disk
from . import support
from .test_kills import filled
from .test_kills import on_its_way
from .test_kills import whole

MEGABYTE = 1 << 20
REFUSED = "the gateway of this site does not accept who we are: no account here has the client certificate for"


@pytest.fixture(scope="module", autouse=True)
def shown(both, tmp_path_factory):
    """At both sites, for all tests here. To start Cinder takes longer than what is tested."""
    with contextlib.ExitStack() as stack:
        for site in both.values():
            stack.enter_context(certificates.shown_at(site, tmp_path_factory.mktemp(site.name)))
        yield


def ticket_lines(site):
    """What the gateway's audit log has of tickets that were asked for."""
    text = (site.folder / "gateway/data/audit.log").read_text(encoding="utf-8")
    return [line for line in map(json.loads, text.splitlines()) if line["event"] == "ticket"]


def test_a_certificate_is_enough_for_a_first_copy_and_the_next(source, target, tmp_path):
    volume, drive = source.volume("certified"), disk.Disk(tmp_path)
    before, received, moved = len(ticket_lines(target)), target.received(), []
    for number, megabytes in enumerate((24, 4), start=1):
        drive.put(f"file-{number}", megabytes, 200 + number)
        drive.write_to(source, volume)
        snapshot = source.snapshot(volume, f"certified-{number}")
        copy = source.copied(snapshot, target.name)
        whole(source, target, snapshot, copy)
        assert target.find_snapshot(copy["peer_snapshot_id"]).status == "available"
        moved.append(target.received() - received - sum(moved))
    assert moved[0] > 24 * MEGABYTE and 4 * MEGABYTE < moved[1] < 12 * MEGABYTE, moved
    lines = ticket_lines(target)[before:]
    assert {(line["principal"], line["outcome"]) for line in lines} == {("certificate:cinder", "ok")}, lines


def test_a_copy_that_is_cancelled_is_taken_back_with_a_certificate(source, target):
    copy = source.begin_copy(filled(source, "cancelled"), target.name)
    on_its_way(source, copy)
    assert source.cloud().delete(f"/os-snapshot-copies/{copy['id']}").status_code == 202
    assert source.end_of(copy)["status"] == "cancelled"
    assert not list(target.cloud("admin").snapshots(all_projects=True))
    assert not list(target.cloud("admin").volumes(all_projects=True))


def test_a_source_whose_certificate_is_unknown_says_so_and_copies_once_it_is_known(source, target):
    snapshot = source.snapshot(source.volume("unknown"), "unknown")
    with certificates.without_its_row(source):
        failed = source.end_of(source.begin_copy(snapshot, target.name))
        assert failed["status"] == "failed" and REFUSED in failed["reason"], failed
        assert f"spiffe://{source.name}.test/cinder" in failed["reason"], failed
        assert source.status_of(snapshot) == "available"
    whole(source, target, snapshot, source.copied(snapshot, target.name))


def test_a_peer_whose_certificate_is_unknown_is_waited_for_and_the_copy_says_why(source, target):
    snapshot = source.snapshot(source.volume("waits"), "waits")
    with certificates.without_its_row(target):
        copy = source.begin_copy(snapshot, target.name)

        def told():
            found = source.copy(copy["id"])
            assert found["status"] not in support.OVER, found
            return f"{target.name}: {REFUSED}" in (found["reason"] or "")

        support.wait("the reason in the copy", told)
    whole(source, target, snapshot, source.end_of(copy))
