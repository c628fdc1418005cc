"""A snapshot that the interface and a worker want to hold at the same moment."""

from unittest import mock

from rsnap_cinder import faults
from rsnap_cinder import holding

from tests import base


class Record:
    """A snapshot as it was read, and as it is in the database."""

    id = "snapshot"

    def __init__(self, read, now):
        self.status = read
        self.now = now

    def conditional_update(self, values, expected):
        if self.now != expected["status"]:
            return False
        self.now = values["status"]
        return True

    def refresh(self):
        self.status = self.now


class HoldingTest(base.TestCase):
    def adopt(self, record, is_backed_up=False):
        job = mock.Mock()
        job.copy.holds = False
        with (
            mock.patch.object(holding.objects.Snapshot, "get_by_id", return_value=record),
            mock.patch.object(holding, "_is_backed_up", return_value=is_backed_up),
        ):
            holding.adopt(job)
        job.change.assert_called_once_with(holds=True)

    def test_a_free_snapshot_is_taken(self):
        record = Record(holding.AVAILABLE, holding.AVAILABLE)
        self.adopt(record)
        self.assertEqual(holding.BUSY, record.now)

    def test_one_that_was_taken_since_it_was_read_is_ours(self):
        self.adopt(Record(holding.AVAILABLE, holding.BUSY))

    def test_one_that_is_backed_up_is_not(self):
        with self.assertRaises(faults.SourceGone):
            self.adopt(Record(holding.BUSY, holding.BUSY), is_backed_up=True)

    def test_one_that_is_deleted_is_not(self):
        with self.assertRaises(faults.SourceGone):
            self.adopt(Record(holding.AVAILABLE, "deleting"))
