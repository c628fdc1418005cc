"""The Cinder of another site, as a worker asks it.

Its Keystone's address comes from the gateway of this site, each time anew, and from nowhere else; the credentials for
it are in Cinder's configuration. keystoneauth renews its token whenever it runs out, so that a copy may last for days.
"""

from keystoneauth1 import adapter
from keystoneauth1 import exceptions
from keystoneauth1 import loading

from rsnap_cinder import faults
from rsnap_cinder import gateway
from rsnap_cinder import options

CONF = options.CONF
SECONDS = 60


class Peer:
    """The imports of another site."""

    def __init__(self, site):
        self.site = site
        self.settings = CONF[options.peer(site)]
        self.place = gateway.site(site)
        self.cinder = self._adapter()

    def _adapter(self):
        group = options.peer(self.site)
        if not self.settings.auth_type:
            raise faults.NotAllowed(f"there are no credentials for site {self.site}: fill [{group}]")
        try:
            auth = loading.load_auth_from_conf_options(CONF, group, auth_url=self.place["keystone"])
            session = loading.load_session_from_conf_options(CONF, group, auth=auth, timeout=SECONDS)
        except exceptions.ClientException as fault:
            raise faults.NotAllowed(f"the credentials in [{group}] cannot be used: {fault}")
        return adapter.Adapter(
            session,
            service_type="block-storage",
            interface=self.settings.interface,
            region_name=self.place["region"],
            raise_exc=False,
        )

    @property
    def authorities(self):
        """Certificates that prove the other site, or none for those of the system."""
        return self.settings.cafile

    def receive(self, wanted):
        return self._import("POST", "", wanted)

    def progress(self, identity, progress):
        self._import("PUT", f"/{identity}", {"status": "creating", "progress": f"{progress}%"})

    def finish(self, identity):
        self._import("PUT", f"/{identity}", {"status": "available", "progress": "100%"})

    def remove(self, identity):
        """Takes an import back. Gives `gone`, `there` when the snapshot is whole and stays, or none: ask again."""
        answer = self._ask("DELETE", f"/{identity}")
        if answer.status_code == 404:
            return "gone"
        if answer.status_code == 409:
            return "there"
        self._check(answer)
        return None

    def _import(self, method, path, document):
        answer = self._ask(method, path, {"import": document})
        self._check(answer)
        try:
            return answer.json()["import"]
        except (ValueError, KeyError) as fault:
            raise faults.Unreachable(f"{self.site} gives no document that we know: {fault}")

    def _ask(self, method, path, document=None):
        try:
            return self.cinder.request(f"/os-snapshot-imports{path}", method, json=document)
        except (exceptions.Unauthorized, exceptions.Forbidden) as fault:
            raise faults.NotAllowed(f"Keystone of {self.site} does not accept our credentials: {fault}")
        except (exceptions.EndpointNotFound, exceptions.EmptyCatalog) as fault:
            raise faults.NotAllowed(f"Keystone of {self.site} tells us no Cinder in {self.place['region']}: {fault}")
        except exceptions.ClientException as fault:
            raise faults.Unreachable(f"{self.site} cannot be asked: {fault}")

    def _check(self, answer):
        status = answer.status_code
        if status < 300:
            return
        text = f"{self.site}: {_explanation(answer)}"
        if status in (401, 403):
            raise faults.NotAllowed(text)
        if status == 413:
            raise faults.OverQuota(text)
        if status in (408, 409, 429) or status >= 500:
            raise faults.Unreachable(text)
        raise faults.Refused(text)


def _explanation(answer):
    """Cinder wraps what it says into a name of the error."""
    try:
        return next(iter(answer.json().values()))["message"]
    except (ValueError, StopIteration, KeyError, TypeError, AttributeError):
        return f"HTTP {answer.status_code}"
