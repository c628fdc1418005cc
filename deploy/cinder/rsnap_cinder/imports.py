"""The interface at the peer: for the workers of other sites, and the owner's release of a volume."""

import contextlib
from http import HTTPStatus

from cinder.api.openstack import wsgi
from cinder.api import validation
from cinder import volume as cinder_volume
import webob.exc

from rsnap_cinder import faults
from rsnap_cinder import incoming
from rsnap_cinder import options
from rsnap_cinder import policies
from rsnap_cinder import schemas

CONF = options.CONF


@contextlib.contextmanager
def _faults_told():
    """Each fault with the status from which the source knows whether to come again."""
    try:
        yield
    except (faults.Unreachable, faults.NotAllowed) as fault:
        # What is wrong between this site's Cinder, Keystone and gateway heals here, or not at all.
        raise webob.exc.HTTPServiceUnavailable(explanation=str(fault))
    except faults.Fault as fault:
        raise webob.exc.HTTPBadRequest(explanation=str(fault))


def view(entry, status=None, transfer=None, chain=None):
    return {
        "id": entry.id,
        "status": status or entry.status,
        "volume_id": entry.volume_id,
        "snapshot_id": entry.snapshot_id,
        "transfer": transfer,
        "chain": chain,
    }


class Imports(wsgi.Controller):
    """`/os-snapshot-imports`: snapshots that come from other sites."""

    @wsgi.response(HTTPStatus.ACCEPTED)
    @validation.schema(schemas.IMPORT)
    def create(self, req, body):
        """The records, and what the transfer needs. The same request again gives the same, with a new ticket; with the
        status `waiting` as long as the volume is being made. `chain` is what is here of what the source told."""
        context = req.environ["cinder.context"]
        context.authorize(policies.IMPORT)
        wanted = body["import"]
        if wanted["site"] not in CONF.rsnap.sites:
            text = f"Nothing is taken from site {wanted['site']}: it is not in [rsnap] sites here."
            raise webob.exc.HTTPBadRequest(explanation=text)
        with _faults_told():
            entry = incoming.receive(context, wanted)
            transfer = None
            if entry.status == incoming.AVAILABLE:
                incoming.check_whole(context, entry)
            elif (transfer := incoming.permit(context, entry)) is None:
                return {"import": view(entry, "waiting")}
            chain = incoming.compared(context, entry, wanted.get("chain"))
            return {"import": view(entry, transfer=transfer, chain=chain)}

    def show(self, req, id):
        return {"import": view(self._entry(req, id))}

    @validation.schema(schemas.PROGRESS)
    def update(self, req, id, body):
        entry, context = self._entry(req, id), req.environ["cinder.context"]
        change = body["import"]
        with _faults_told():
            if change["status"] == incoming.AVAILABLE:
                incoming.finish(context, entry)
            elif entry.status == incoming.CREATING and "progress" in change:
                incoming.progress(context, entry, change["progress"])
        return {"import": view(incoming.row(id))}

    @wsgi.response(HTTPStatus.ACCEPTED)
    def delete(self, req, id):
        """Takes an import back. To be repeated until it answers 404: then nothing is left. A snapshot that is there
        whole stays, and is shown."""
        entry, context = self._entry(req, id), req.environ["cinder.context"]
        with _faults_told():
            if entry.status != incoming.AVAILABLE and incoming.is_whole(entry, context.elevated()):
                incoming.finish(context, entry)
            if incoming.row(id).status == incoming.AVAILABLE:
                raise webob.exc.HTTPConflict(explanation=f"Snapshot {entry.snapshot_id} is there whole, and stays.")
            incoming.remove(context, entry)

    def _entry(self, req, identity):
        req.environ["cinder.context"].authorize(policies.IMPORT)
        entry = incoming.row(identity)
        if entry is None:
            raise webob.exc.HTTPNotFound(explanation=f"There is no import {identity}.")
        return entry


class ReleaseAction(wsgi.Controller):
    """`os-release_copy` on a volume."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.volumes = cinder_volume.API()

    @wsgi.response(HTTPStatus.ACCEPTED)
    @wsgi.action("os-release_copy")
    @validation.schema(schemas.RELEASE)
    def release_copy(self, req, id, body):
        context = req.environ["cinder.context"]
        volume = self.volumes.get(context, id)
        context.authorize(policies.RELEASE, target_obj=volume)
        with _faults_told():
            incoming.release(context, volume)
