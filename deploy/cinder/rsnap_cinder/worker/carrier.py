"""One copy, from where it stands to its end."""

import json
import os
import time

from cinder import context as cinder_context
from cinder import exception
from cinder import objects
from oslo_log import log as logging

from rsnap_cinder import chains
from rsnap_cinder import database
from rsnap_cinder import faults
from rsnap_cinder import holding
from rsnap_cinder import jobs
from rsnap_cinder import messages
from rsnap_cinder import options
from rsnap_cinder import peer as peers
from rsnap_cinder.worker import sender
from rsnap_cinder.worker import source

CONF = options.CONF
LOG = logging.getLogger(__name__)
# Between two looks at the child process, and between two reports to the peer.
LOOK_SECONDS = 0.5
REPORT_SECONDS = 5


class Stopped(Exception):
    """The worker stops in order: another one, or this one after its start, goes on."""


class Carrier:
    def __init__(self, job, is_stopping):
        self.job = job
        self.is_stopping = is_stopping
        self.peer = None

    def carry(self):
        """Never raises: each copy ends in a state that tells what has become of it."""
        copy = self.job.copy
        try:
            self._advance()
        except faults.TakenOver:
            LOG.warning("Copy %s belongs to another worker now", copy.id)
        except Stopped:
            self._guarded(self.job.release)
        except faults.Fault as fault:
            LOG.warning("Copy %s of snapshot %s to %s: %s", copy.id, copy.snapshot_id, copy.site, fault)
            self._guarded(self._fail, fault)
        except Exception as fault:  # a defect of ours or of the database must not end the worker
            LOG.exception("Copy %s of snapshot %s to %s", copy.id, copy.snapshot_id, copy.site)
            unknown = faults.Unreachable(f"unexpected: {type(fault).__name__}; the log of cinder-rsnap tells more")
            self._guarded(self._fail, unknown)

    def _guarded(self, change, *arguments):
        """Where even this cannot be written, the lease ends and another try is made."""
        try:
            change(*arguments)
        except Exception:
            LOG.exception("The state of copy %s could not be written", self.job.copy.id)

    def _advance(self):
        if self.job.copy.status == jobs.CLEANING:
            self._clean()
            return
        self.job.keep()
        snapshot = holding.adopt(self.job)
        self.job.change(status=jobs.PREPARING)
        self.peer = peers.Peer(self.job.copy.site)
        incoming = self._prepare(snapshot)
        if incoming["status"] != "available":
            self._send(snapshot, incoming)
            self.job.change(status=jobs.COMPLETING, progress=99)
            holding.show(snapshot, 99)
            self.peer.finish(incoming["id"])
        self.job.change(progress=100)
        holding.give_back(self.job)
        self.job.end(jobs.DONE)
        LOG.info("Copy %s: snapshot %s is at %s", self.job.copy.id, snapshot.id, self.job.copy.site)

    def _prepare(self, snapshot):
        """The records at the peer."""
        wanted = self._wanted(snapshot)
        while True:
            self._pause(0)
            incoming = self.peer.receive(wanted)
            self.job.change(
                peer_import_id=incoming["id"],
                peer_volume_id=incoming["volume_id"],
                peer_snapshot_id=incoming["snapshot_id"],
            )
            if incoming["status"] != "waiting":
                self._note(incoming.get("chain"))
                return incoming
            self._pause(1)

    def _note(self, chain):
        """What the peer has of earlier copies, for whoever looks at this one."""
        copy = self.job.copy
        found = chains.noticed(copy.site, chain)
        if found is None:
            return
        self.job.change(chain=json.dumps(found))
        if found["notice"]:
            LOG.warning("Copy %s of snapshot %s: %s", copy.id, copy.snapshot_id, found["notice"])

    def _wanted(self, snapshot):
        context = cinder_context.get_admin_context()
        try:
            volume = objects.Volume.get_by_id(context, snapshot.volume_id)
        except exception.VolumeNotFound:
            raise faults.SourceGone(f"volume {snapshot.volume_id} has been deleted")
        copy = self.job.copy
        return {
            "site": CONF.rsnap.site,
            "copy_id": copy.id,
            "project": {"id": copy.project_id, "name": copy.project_name},
            "volume": {
                "id": volume.id,
                "name": volume.display_name,
                "description": volume.display_description,
                "type": volume.volume_type.name if volume.volume_type_id else None,
                "bootable": bool(volume.bootable),
                "metadata": dict(volume.metadata),
                "image_metadata": {name: str(value) for name, value in dict(volume.glance_metadata).items()},
            },
            "snapshot": {
                "id": snapshot.id,
                "name": snapshot.display_name,
                "description": snapshot.display_description,
                "metadata": dict(snapshot.metadata),
                "created_at": snapshot.created_at.isoformat() if snapshot.created_at else None,
                "size": snapshot.volume_size,
            },
            "chain": chains.told(copy),
        }

    def _send(self, snapshot, incoming):
        transfer = incoming["transfer"]
        volume = objects.Volume.get_by_id(cinder_context.get_admin_context(), snapshot.volume_id)
        self.job.change(status=jobs.SENDING, server=transfer["answer"]["server"])
        arguments = source.arguments(volume, snapshot)
        folder = os.path.join(CONF.rsnap.state_path, "sending")
        child = sender.Sender(folder, self.job.copy, transfer, arguments, self.peer.authorities)
        try:
            self._watch(child, snapshot, incoming["id"])
            child.result()
        finally:
            child.stop()
            child.clear()

    def _watch(self, child, snapshot, import_id):
        reported = time.monotonic()
        while child.is_running():
            self._pause(LOOK_SECONDS)
            progress = child.progress()
            if progress > self.job.copy.progress:
                self.job.move(progress)
                holding.show(snapshot, progress)
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                self._report(import_id)

    def _report(self, import_id):
        """That the peer does not hear of it stops no transfer."""
        try:
            self.peer.progress(import_id, self.job.copy.progress)
        except faults.Unreachable as fault:
            LOG.info("Copy %s: %s", self.job.copy.id, fault)

    def _pause(self, seconds):
        if self.is_stopping():
            raise Stopped()
        self.job.keep()
        time.sleep(seconds)

    def _fail(self, fault):
        if fault.heals and self.job.repeat(fault):
            return
        if self.job.copy.status == jobs.CLEANING:
            # The peer has not been heard of for as long as we try: it gives the import up by itself.
            self._conclude()
            return
        self.job.change(status=jobs.CLEANING, kind=fault.kind, reason=str(fault), moved_at=database.now(), progress=0)
        self._clean()

    def _clean(self):
        """Nothing of a copy that failed stays at the peer."""
        try:
            self._remove()
        except faults.Fault as fault:
            if not self.job.repeat(fault):
                self._conclude()

    def _remove(self):
        copy = self.job.copy
        self.peer = peers.Peer(copy.site) if copy.peer_import_id else None
        while self.peer is not None:
            if self.is_stopping():
                raise Stopped()
            found = self.peer.remove(copy.peer_import_id)
            if found == "there":
                self._was_done()
                return
            if found == "gone":
                break
            self.job.change()
            time.sleep(1)
        self._conclude()

    def _was_done(self):
        """The transfer that seemed to have failed had reached its end."""
        holding.give_back(self.job)
        self.job.change(progress=100, kind=None, reason=None)
        self.job.end(jobs.DONE)

    def _conclude(self):
        copy = self.job.copy
        holding.give_back(self.job)
        if copy.kind != faults.Cancelled.kind:
            owner = cinder_context.RequestContext(user_id=copy.user_id, project_id=copy.project_id, overwrite=False)
            messages.tell(owner, copy.snapshot_id, copy.kind)
        self.job.end(jobs.CANCELLED if copy.kind == faults.Cancelled.kind else jobs.FAILED)
