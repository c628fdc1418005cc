"""Whose a snapshot is that comes from another site: the peer decides, for the ids of projects differ."""

from cinder import context as cinder_context
from keystoneauth1 import adapter
from keystoneauth1 import exceptions
from keystoneauth1 import loading
from keystoneauth1 import session

from rsnap_cinder import faults
from rsnap_cinder import options

CONF = options.CONF
SECONDS = 30


def local(site, project):
    """The id here of a project there: as the configuration says, else the one of the same name."""
    known = CONF[options.peer(site)].projects
    identity, name = project["id"], project.get("name")
    for key in (identity, name):
        if key in known:
            return known[key]
    found = _named(name) if name else []
    if len(found) != 1:
        raise faults.Refused(
            f"no project here takes what project {name or identity} of {site} sends: make one of that name in the "
            f"default domain, or list it in [rsnap_site_{site}] projects"
        )
    return found[0]["id"]


def _named(name):
    """Projects of a name, asked with Cinder's own account at this site's Keystone."""
    group = "keystone_authtoken"
    loading.register_auth_conf_options(CONF, group)
    settings = CONF[group]
    try:
        auth = loading.load_auth_from_conf_options(CONF, group)
        # The group is the middleware's, which has no option for the time that an answer may take.
        caller = session.Session(auth, verify=not settings.insecure and (settings.cafile or True), timeout=SECONDS)
        identity = adapter.Adapter(caller, service_type="identity", interface="admin")
        answer = identity.get("/projects", params={"name": name, "domain_id": "default", "enabled": "true"})
        return answer.json()["projects"]
    except exceptions.Forbidden:
        raise faults.Refused("Cinder's account may not look up projects here: list them in [rsnap_site_…] projects")
    except exceptions.ClientException as fault:
        raise faults.Unreachable(f"Keystone of this site cannot be asked: {fault}")


def owner(context, project_id):
    """A context in the owner's project, so that quota, default types and visibility are the owner's."""
    return cinder_context.RequestContext(
        user_id=context.user_id,
        project_id=project_id,
        is_admin=True,
        roles=["admin", "member", "reader"],
        request_id=context.request_id,
        overwrite=False,
    )
