"""One site: its ports, its parts, and how to talk to it."""

import getpass
import pathlib

from .cinder import Cinder
from .database import PASSWORD as DATABASE_PASSWORD
from .database import USER as DATABASE_USER
from .database import Database
from .gateway import Gateway
from .keystone import PASSWORD, Keystone
from .process import free_ports
from .proxy import Proxy
from .registry import Registry

PORTS = (
    "keystone",
    "cinder",
    "gateway",
    "gateway_admin",
    "database",
    "etcd",
    "etcd_peer",
    "public_keystone",
    "public_cinder",
    "public_gateway",
)


class Site:
    def __init__(self, name, folder, python, tools, ceph):
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.python = python
        self.newest = tools.newest
        self.rsnap = tools.rsnap
        self.ceph = pathlib.Path(ceph)
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.authority = tools.authority.certificate
        # The first DNS name is what callers verify at the gateway.
        names = (f"DNS:gateway.{name}.test", "IP:127.0.0.1")
        self.certificate, self.key, self.both = tools.authority.sign(name, names)

    def furnish(self, tools, peer):
        self.keystone = Keystone(self, tools.source)
        self.registry = Registry(self)
        self.database = Database(self, getpass.getuser())
        self.proxy = Proxy(self)
        self.gateway = Gateway(self, tools.plugins)
        self.cinder = Cinder(self, tools, peer)
        self.servers = {
            "keystone": self.keystone.server,
            "database": self.database.server,
            "etcd": self.registry.server,
            "haproxy": self.proxy.server,
            "gateway": self.gateway.server,
            "cinder": self.cinder.server,
            "worker": self.cinder.worker,
        }

    def public(self, service):
        return f"https://127.0.0.1:{self.ports['public_' + service]}"

    def environment(self, user, project):
        """As `openrc` files set it."""
        return {
            "OS_AUTH_URL": self.public("keystone") + "/v3",
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_REGION_NAME": self.name,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_CACERT": str(self.authority),
        }

    def write_openrc(self):
        """For a shell: a user of the project `demo`."""
        lines = [f"export {name}={value}\n" for name, value in self.environment("demo", "demo").items()]
        (self.folder / "openrc").write_text("".join(lines), encoding="utf-8")

    def describe(self):
        """What somebody needs who talks to this site."""
        return {
            "folder": str(self.folder),
            "openrc": str(self.folder / "openrc"),
            "ceph": str(self.ceph),
            "python": str(self.python),
            "region": self.name,
            "keystone": self.public("keystone") + "/v3",
            "cinder": self.public("cinder"),
            "gateway": self.public("gateway"),
            "ports": self.ports,
            "authority": str(self.authority),
            "password": PASSWORD,
            "database": {
                "host": "127.0.0.1",
                "port": self.ports["database"],
                "user": DATABASE_USER,
                "password": DATABASE_PASSWORD,
            },
            "configuration": str(self.cinder.file),
            "log": str(self.folder),
        }
