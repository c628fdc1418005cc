"""The life of a copy at the source, as its row tells it.

    queued ──> preparing ──> sending ──> completing ──> done
      ^            │            │             │
      ├────────────┴────────────┴─────────────┘  what may heal, after a wait
      │
      └─ cleaning (the peer's records are removed) ──> failed | cancelled

A copy that is not over belongs to nobody, or to the worker whose lease runs. Only `claim` gives it to a worker, and
raises its generation; every other change names the generation that it knows.
"""

import sqlalchemy as sa

from rsnap_cinder import database
from rsnap_cinder import faults
from rsnap_cinder import options
from rsnap_cinder.database import COPIES

CONF = options.CONF

QUEUED = "queued"
PREPARING = "preparing"
SENDING = "sending"
COMPLETING = "completing"
CLEANING = "cleaning"
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
OVER = (DONE, FAILED, CANCELLED)
ALL = (QUEUED, PREPARING, SENDING, COMPLETING, CLEANING, *OVER)


def ask(snapshot, context, site):
    """A new copy, or the one that runs already. Gives the row, and whether it is new."""
    now = database.now()
    identity = database.new_id()
    is_new = database.insert(
        COPIES,
        id=identity,
        project_id=snapshot.project_id,
        project_name=context.project_name if context.project_id == snapshot.project_id else None,
        user_id=context.user_id,
        snapshot_id=snapshot.id,
        volume_id=snapshot.volume_id,
        site=site,
        status=QUEUED,
        active=snapshot.id,
        moved_at=now,
        created_at=now,
        updated_at=now,
    )
    found = row(identity) if is_new else database.row(COPIES, COPIES.c.active == snapshot.id)
    # The one that stood against it may be over by now.
    return (found, is_new) if found is not None else ask(snapshot, context, site)


def row(identity):
    return database.row(COPIES, COPIES.c.id == identity)


def withdraw(copy):
    """Takes back a copy that no worker has seen. Gives whether that was so."""
    return database.delete(COPIES, COPIES.c.id == copy.id, COPIES.c.generation == 0) == 1


def cancel(copy):
    """Asks whoever has it to stop. Gives whether there was something to stop."""
    return database.update(COPIES, COPIES.c.id == copy.id, COPIES.c.active.isnot(None), cancelled=True) == 1


def listed(conditions):
    return database.rows(COPIES, *conditions, order=COPIES.c.created_at)


def claim(worker, most, restarted=False):
    """Gives the worker up to `most` copies that nobody cares for; after a restart also those it had before."""
    now = database.now()
    free = sa.or_(COPIES.c.worker.is_(None), COPIES.c.lease < now)
    if restarted:
        free = sa.or_(free, COPIES.c.worker == worker)
    waiting = sa.or_(COPIES.c.next_try <= now, COPIES.c.cancelled.is_(True))
    first = _first_of_their_volumes()
    claimed = []
    for found in database.rows(COPIES, COPIES.c.active.isnot(None), free, waiting, order=COPIES.c.created_at):
        if len(claimed) == most:
            break
        if found.id not in first:
            continue
        same = (COPIES.c.id == found.id, COPIES.c.generation == found.generation)
        values = {"worker": worker, "lease": now + CONF.rsnap.lease, "generation": found.generation + 1}
        if database.update(COPIES, *same, COPIES.c.active.isnot(None), **values):
            claimed.append(Job(row(found.id)))
    return claimed


def _first_of_their_volumes():
    """Copies that need not wait for another one: to one volume at the peer there is one transfer at a time, and what
    was asked for first is there first, so that the next one can start from it."""
    first = {}
    for found in database.rows(COPIES, COPIES.c.active.isnot(None), order=COPIES.c.created_at):
        first.setdefault((found.volume_id, found.site), found.id)
    return set(first.values())


class Job:
    """A copy that this worker has."""

    def __init__(self, copy):
        self.copy = copy
        self.generation = copy.generation

    def change(self, **values):
        """Writes what has changed, keeps the lease, and reads what others changed."""
        now = database.now()
        if CONF.rsnap.lease and "worker" not in values:
            values["lease"] = now + CONF.rsnap.lease
        same = (COPIES.c.id == self.copy.id, COPIES.c.generation == self.generation)
        if not database.update(COPIES, *same, updated_at=now, **values):
            raise faults.TakenOver()
        self.copy = row(self.copy.id)

    def keep(self):
        """Keeps the lease; the moment to notice that the user wants no more of it."""
        self.change()
        if self.copy.cancelled and self.copy.status != CLEANING:
            raise faults.Cancelled("cancelled by the user")

    def move(self, progress):
        """Notes that bytes have moved."""
        self.change(progress=progress, moved_at=database.now())

    def repeat(self, fault):
        """Puts it back, to be tried again after a wait; refuses when nothing has moved for too long."""
        now = database.now()
        if now - self.copy.moved_at > CONF.rsnap.retry_for:
            return False
        wait = min(CONF.rsnap.retry_wait * 2 ** min(self.copy.attempts, 16), CONF.rsnap.retry_wait_most)
        status = self.copy.status if self.copy.status == CLEANING else QUEUED
        self.change(
            status=status,
            worker=None,
            lease=0,
            attempts=self.copy.attempts + 1,
            next_try=now + wait,
            reason=self.copy.reason if status == CLEANING else str(fault),
        )
        return True

    def release(self):
        """Puts it back as it is: this worker stops in order."""
        self.change(worker=None, lease=0)

    def end(self, status):
        self.change(status=status, active=None, worker=None, lease=0)
