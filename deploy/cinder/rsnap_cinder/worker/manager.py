"""The manager of the service: looks for copies to be done, and does a bounded number of them at once."""

import os
import threading
import time

from cinder import manager
from oslo_log import log as logging
import oslo_messaging as messaging

from rsnap_cinder import database
from rsnap_cinder import jobs
from rsnap_cinder import options
from rsnap_cinder.worker import carrier
from rsnap_cinder.worker import reaper

CONF = options.CONF
LOG = logging.getLogger(__name__)


class CopyManager(manager.Manager):
    """The table of copies is the queue: what stands there survives everybody. The message bus, on which a request is
    lost with whoever took it, is used for nothing but to be a service among Cinder's."""

    RPC_API_VERSION = "1.0"
    target = messaging.Target(version=RPC_API_VERSION)

    def __init__(self, *args, **kwargs):
        kwargs.pop("service_name", None)
        super().__init__(*args, **kwargs)
        self.stopping = threading.Event()
        self.running = {}
        self.loop = None

    def init_host(self, **kwargs):
        database.check()
        os.makedirs(CONF.rsnap.state_path, mode=0o700, exist_ok=True)
        self.loop = threading.Thread(target=self._look, daemon=True)
        self.loop.start()

    def cleanup_host(self):
        """Stops in order: what runs is put back as it stands."""
        self.stopping.set()
        for thread in list(self.running.values()):
            thread.join(timeout=30)

    def _look(self):
        restarted, reaped = True, 0.0
        while not self.stopping.is_set():
            try:
                self._take(restarted)
                restarted = False
                if time.monotonic() - reaped > CONF.rsnap.stale_after / 10:
                    reaped = time.monotonic()
                    reaper.reap()
            except Exception:  # the database may be gone for a while; the service must be there when it is back
                LOG.exception("Cannot look for copies")
            time.sleep(CONF.rsnap.poll_interval)

    def _take(self, restarted):
        self.running = {identity: thread for identity, thread in self.running.items() if thread.is_alive()}
        free = CONF.rsnap.transfers - len(self.running)
        for job in jobs.claim(self.host, free, restarted):
            carried = carrier.Carrier(job, self.stopping.is_set)
            thread = threading.Thread(target=carried.carry, daemon=True)
            self.running[job.copy.id] = thread
            thread.start()
