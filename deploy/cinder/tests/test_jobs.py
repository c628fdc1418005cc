"""The life of a copy, with several workers."""

import threading

from rsnap_cinder import database
from rsnap_cinder import faults
from rsnap_cinder import jobs
from rsnap_cinder.database import COPIES

from tests import base


class JobsTest(base.DatabaseCase):
    def ask(self, snapshot="snapshot", volume="volume", site="dc2"):
        return jobs.ask(base.Snapshot(snapshot, volume), base.Context(), site)[0]

    def expire(self, copy):
        database.update(COPIES, COPIES.c.id == copy.id, lease=0)

    def test_the_same_copy_is_there_once(self):
        first, is_new = jobs.ask(base.Snapshot(), base.Context(), "dc2")
        second, is_second_new = jobs.ask(base.Snapshot(), base.Context(), "dc2")
        self.assertEqual((True, False), (is_new, is_second_new))
        self.assertEqual(first.id, second.id)

    def test_when_it_is_over_there_may_be_another(self):
        first = self.ask()
        jobs.claim("worker", 1)[0].end(jobs.DONE)
        self.assertNotEqual(first.id, self.ask().id)

    def test_a_copy_belongs_to_one_worker(self):
        self.ask()
        self.assertEqual(1, len(jobs.claim("one", 5)))
        self.assertEqual([], jobs.claim("two", 5))

    def test_many_workers_at_once_have_each_copy_once(self):
        for number in range(8):
            self.ask(f"snapshot-{number}", f"volume-{number}")
        claimed = []
        threads = [
            threading.Thread(target=lambda name=name: claimed.extend(jobs.claim(f"worker-{name}", 8)))
            for name in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(8, len({job.copy.id for job in claimed}))
        self.assertEqual(8, len(claimed))

    def test_no_more_than_wanted_are_claimed(self):
        for number in range(3):
            self.ask(f"snapshot-{number}", f"volume-{number}")
        self.assertEqual(2, len(jobs.claim("worker", 2)))

    def test_who_lost_the_lease_changes_nothing_any_more(self):
        copy = self.ask()
        slow = jobs.claim("slow", 1)[0]
        self.expire(copy)
        quick = jobs.claim("quick", 1)[0]
        for change in (slow.keep, slow.release, lambda: slow.end(jobs.FAILED), lambda: slow.repeat(ValueError())):
            with self.assertRaises(faults.TakenOver):
                change()
        quick.end(jobs.DONE)
        self.assertEqual(jobs.DONE, jobs.row(copy.id).status)

    def test_a_worker_that_starts_again_takes_up_what_it_had(self):
        self.ask()
        jobs.claim("worker", 1)
        self.assertEqual([], jobs.claim("worker", 1))
        self.assertEqual(1, len(jobs.claim("worker", 1, restarted=True)))

    def test_copies_of_one_volume_to_one_site_go_in_turn(self):
        first, second = self.ask("first"), self.ask("second")
        elsewhere = self.ask("third", site="dc3")
        claimed = jobs.claim("worker", 5)
        self.assertEqual({first.id, elsewhere.id}, {job.copy.id for job in claimed})
        claimed[0].end(jobs.DONE)
        self.assertEqual([second.id], [job.copy.id for job in jobs.claim("worker", 5)])

    def test_what_fails_waits_longer_each_time(self):
        self.set(retry_wait=10, retry_wait_most=25)
        copy, waits = self.ask(), []
        for _ in range(3):
            database.update(COPIES, COPIES.c.id == copy.id, next_try=0)
            self.assertTrue(jobs.claim("worker", 1)[0].repeat(faults.Unreachable("no answer")))
            waits.append(round(jobs.row(copy.id).next_try - database.now()))
            self.assertEqual([], jobs.claim("worker", 1))
        self.assertEqual([10, 20, 25], waits)
        self.assertEqual("no answer", jobs.row(copy.id).reason)

    def test_it_is_given_up_when_nothing_moves_for_too_long(self):
        copy = self.ask()
        database.update(COPIES, COPIES.c.id == copy.id, moved_at=0)
        self.assertFalse(jobs.claim("worker", 1)[0].repeat(faults.Unreachable("no answer")))

    def test_a_cancelled_copy_is_taken_at_once_and_stops(self):
        copy = self.ask()
        database.update(COPIES, COPIES.c.id == copy.id, next_try=database.now() + 1000)
        self.assertTrue(jobs.cancel(copy))
        with self.assertRaises(faults.Cancelled):
            jobs.claim("worker", 1)[0].keep()

    def test_what_is_over_cannot_be_cancelled(self):
        copy = self.ask()
        jobs.claim("worker", 1)[0].end(jobs.DONE)
        self.assertFalse(jobs.cancel(copy))

    def test_only_what_no_worker_has_seen_is_withdrawn(self):
        copy = self.ask()
        jobs.claim("worker", 1)
        self.assertFalse(jobs.withdraw(copy))
        other = self.ask("other", "other")
        self.assertTrue(jobs.withdraw(other))
        self.assertIsNone(jobs.row(other.id))
