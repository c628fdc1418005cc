"""The interface at the source: ask for a copy, see copies, cancel one. Nothing here talks to another machine."""

import datetime
from http import HTTPStatus
import json

from cinder.api.openstack import wsgi
from cinder.api import validation
from cinder import context as cinder_context
from cinder import objects
from cinder import volume as cinder_volume
import webob.exc

from rsnap_cinder import holding
from rsnap_cinder import jobs
from rsnap_cinder import options
from rsnap_cinder import policies
from rsnap_cinder import schemas
from rsnap_cinder.database import COPIES

CONF = options.CONF
WORKER = "cinder-rsnap"


def _time(seconds):
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")


def view(copy):
    """A copy as users see it."""
    return {
        "id": copy.id,
        "project_id": copy.project_id,
        "snapshot_id": copy.snapshot_id,
        "volume_id": copy.volume_id,
        "site": copy.site,
        "status": copy.status,
        "progress": f"{copy.progress}%",
        "reason": copy.reason,
        "peer_volume_id": copy.peer_volume_id,
        "peer_snapshot_id": copy.peer_snapshot_id,
        "server": copy.server,
        "chain": json.loads(copy.chain) if copy.chain else None,
        "created_at": _time(copy.created_at),
        "updated_at": _time(copy.updated_at),
    }


def _worker_is_up():
    context = cinder_context.get_admin_context()
    services = objects.ServiceList.get_all_by_topic(context, WORKER, disabled=False)
    return any(service.is_up for service in services)


def _refuse(text):
    raise webob.exc.HTTPBadRequest(explanation=text)


def _conflict(text):
    raise webob.exc.HTTPConflict(explanation=text)


class CopyAction(wsgi.Controller):
    """`os-copy_to_site` on a snapshot."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.volumes = cinder_volume.API()

    @wsgi.response(HTTPStatus.ACCEPTED)
    @wsgi.action("os-copy_to_site")
    @validation.schema(schemas.COPY)
    def copy_to_site(self, req, id, body):
        """Answers at once; the same request again gives the same copy as long as it runs."""
        context = req.environ["cinder.context"]
        snapshot = self.volumes.get_snapshot(context, id)
        context.authorize(policies.COPY, target_obj=snapshot)
        site = body["os-copy_to_site"]["site"]
        others = [name for name in CONF.rsnap.sites if name != CONF.rsnap.site]
        if site not in others:
            known = ", ".join(sorted(others)) or "none"
            _refuse(f"There is no site {site} to copy to; there are: {known}.")
        volume = objects.Volume.get_by_id(context, snapshot.volume_id)
        if snapshot.encryption_key_id or volume.encryption_key_id:
            _refuse("A snapshot of an encrypted volume cannot be copied: its key does not exist at the other site.")
        if not _worker_is_up():
            text = f"No {WORKER} service is up, which copies snapshots. Try again later."
            raise webob.exc.HTTPServiceUnavailable(explanation=text)
        return {"copy": view(self._accept(context, snapshot, site))}

    def _accept(self, context, snapshot, site):
        copy, is_new = jobs.ask(snapshot, context, site)
        if copy.site != site:
            _conflict(f"Snapshot {snapshot.id} is being copied to {copy.site}: wait until that is over.")
        if is_new and not holding.take(snapshot) and jobs.withdraw(copy):
            snapshot.refresh()
            _conflict(f"Snapshot {snapshot.id} must be available to be copied, and is {snapshot.status}.")
        if is_new:
            holding.note(copy.id)
        return jobs.row(copy.id)


class Copies(wsgi.Controller):
    """`/os-snapshot-copies`: the copies of a project's snapshots."""

    FILTERS = {
        "snapshot_id": COPIES.c.snapshot_id,
        "volume_id": COPIES.c.volume_id,
        "site": COPIES.c.site,
        "status": COPIES.c.status,
    }

    def index(self, req):
        context = req.environ["cinder.context"]
        context.authorize(policies.COPIES_GET)
        conditions = []
        for name, value in req.params.items():
            if name in self.FILTERS:
                conditions.append(self.FILTERS[name] == value)
            elif name != "all_tenants":
                _refuse(f"Copies cannot be filtered by {name}, only by {', '.join(self.FILTERS)}.")
        if not (context.is_admin and req.params.get("all_tenants") in ("1", "true", "True")):
            conditions.append(COPIES.c.project_id == context.project_id)
        return {"copies": [view(copy) for copy in jobs.listed(conditions)]}

    def show(self, req, id):
        return {"copy": view(self._own(req.environ["cinder.context"], id, policies.COPIES_GET))}

    @wsgi.response(HTTPStatus.ACCEPTED)
    def delete(self, req, id):
        copy = self._own(req.environ["cinder.context"], id, policies.COPIES_CANCEL)
        if not jobs.cancel(copy):
            _conflict(f"Copy {id} is over ({copy.status}): nothing is left to cancel.")

    def _own(self, context, identity, rule):
        copy = jobs.row(identity)
        if copy is None or not (context.is_admin or copy.project_id == context.project_id):
            raise webob.exc.HTTPNotFound(explanation=f"There is no copy {identity}.")
        context.authorize(rule, target={"project_id": copy.project_id, "user_id": copy.user_id})
        return copy
