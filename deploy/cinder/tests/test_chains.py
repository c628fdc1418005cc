"""What both sites have of a volume."""

import types
from unittest import mock

from rsnap_cinder import chains
from rsnap_cinder import database
from rsnap_cinder import jobs
from rsnap_cinder.database import COPIES

from tests import base

EMPTY = {kind: [] for kind in chains.schemas.KINDS_OF_CHAIN}


def copies(*names):
    """Copies of the snapshots of these names, which are called the same there, with `peer-` before."""
    return [{"source": name, "snapshot": f"peer-{name}"} for name in names]


def compare(told, known, whole, complete=True):
    known = {name: (volume, f"peer-{name}") for name, volume in known.items()}
    found = chains.compare({"complete": complete, "copies": told}, known, "volume", {f"peer-{name}" for name in whole})
    return {kind: listed for kind, listed in found.items() if listed}


class ComparedTest(base.TestCase):
    def test_what_is_there_whole_under_its_id_is_common(self):
        self.assertEqual({"common": copies("one")}, compare(copies("one"), {"one": "volume"}, ["one"]))
        self.assertEqual({}, compare([], {}, []))

    def test_what_the_peer_lost_is_told_apart(self):
        told, known = copies("one", "two", "three"), {"two": "volume", "three": "volume"}
        found = compare(told, known, ["one", "three"])
        self.assertEqual({"common": copies("three"), "deleted": copies("one"), "broken": copies("two")}, found)

    def test_another_id_and_another_volume_are_a_change(self):
        self.assertEqual({"changed": copies("one")}, compare(copies("one"), {"one": "released"}, ["one"]))
        other = [{"source": "one", "snapshot": "other"}]
        self.assertEqual({"changed": other}, compare(other, {"one": "volume"}, ["one"]))

    def test_what_the_source_does_not_tell_is_only_there(self):
        known = {"one": "volume", "two": "volume", "three": "released"}
        self.assertEqual({"only_there": copies("one"), "broken": copies("two")}, compare([], known, ["one"]))
        self.assertEqual({}, compare([], known, ["one"], complete=False), "more were copied than are told")


class NoticedTest(base.TestCase):
    def test_a_loss_is_told_in_words(self):
        answer = {**EMPTY, "common": copies("one"), "deleted": copies("two"), "broken": copies("three")}
        notice = chains.noticed("dc2", answer)["notice"]
        self.assertIn("deleted at dc2: two (there peer-two); recorded at dc2, but their data is gone", notice)
        self.assertTrue(notice.endswith("copy them again: three (there peer-three)"))

    def test_without_a_loss_there_is_no_notice(self):
        answer = {**EMPTY, "common": copies("one"), "only_there": copies("two")}
        self.assertEqual({**answer, "notice": None}, chains.noticed("dc2", answer))

    def test_what_is_no_answer_is_left_out(self):
        long = {**EMPTY, "common": copies(*(str(number) for number in range(501)))}
        strange = {**EMPTY, "common": [{"source": "one", "snapshot": "x" * 256}]}
        for answer in (None, "yes", {}, {**EMPTY, "more": []}, {**EMPTY, "common": ["one"]}, long, strange):
            self.assertIsNone(chains.noticed("dc2", answer))


class ToldTest(base.DatabaseCase):
    def copied(self, snapshot, peer, status=jobs.DONE, site="dc2"):
        copy, _ = jobs.ask(base.Snapshot(snapshot), base.Context(), site)
        job = jobs.claim("worker", 1)[0]
        job.change(peer_snapshot_id=peer)
        job.end(status)
        return jobs.row(copy.id)

    def told(self, copy, *here):
        listed = [base.Snapshot(identity) for identity in here]
        with mock.patch.object(chains.records, "snapshots_of", return_value=listed):
            return chains.told(copy)

    def test_copies_that_succeeded_are_told_with_the_newest_id(self):
        self.copied("one", "deleted-there")
        self.copied("one", "peer-one")
        self.copied("two", "peer-two")
        self.copied("failed", "peer-failed", jobs.FAILED)
        self.copied("elsewhere", "peer-elsewhere", site="dc3")
        self.copied("gone", "peer-gone")
        running = self.copied("now", "before")
        told = self.told(running, "one", "two", "failed", "elsewhere", "now")
        self.assertEqual({"complete": True, "copies": copies("one", "two")}, told)

    def test_no_more_than_a_request_takes_is_told(self):
        copy = self.copied("first", "peer-first")
        for number in range(chains.MOST):
            values = {"id": database.new_id(), "snapshot_id": str(number), "peer_snapshot_id": f"peer-{number}"}
            same = {"project_id": "p", "volume_id": "volume", "site": "dc2", "status": jobs.DONE, "active": None}
            moment = copy.created_at + 1 + number
            database.insert(COPIES, **values, **same, created_at=moment, updated_at=moment)
        here = ("first", "now", *(str(number) for number in range(chains.MOST)))
        told = self.told(types.SimpleNamespace(volume_id="volume", site="dc2", snapshot_id="now"), *here)
        self.assertEqual((False, chains.MOST), (told["complete"], len(told["copies"])))
        self.assertEqual("peer-0", told["copies"][0]["snapshot"])
