"""The gateway of a site, on the site's pool, registered in its etcd."""

import urllib.request

from .process import Server

CONFIGURATION = """[gateway]
site = "{name}"
data = "{folder}/data"
[listen]
address = "127.0.0.1:{port}"
[tls]
certificate = "{certificate}"
key = "{key}"
[auth]
tokens = [
    {{ name = "cinder", role = "ticket", file = "{folder}/cinder.token" }},
    {{ name = "operator", role = "operator", file = "{folder}/operator.token" }},
]
ticket_keys = [{{ id = "k1", file = "{folder}/ticket.key" }}]
[etcd]
endpoints = ["{etcd}"]
[admin]
address = "127.0.0.1:{admin}"
[stores.main]
kind = "rbd"
pool = "volumes"
configuration = "{ceph}"
protect = true
[plugins]
path = ["{plugins}"]
[plugins.writer]
component = "image"
stores = ["main"]
[plugins.writer.settings]
store = "main"
image = "volume-{{volume}}"
snapshot = "snapshot-{{snapshot}}"
[plugins.policy]
component = "nearest-base"
[plugins.resolver]
component = "static"
"""

SITE = """[plugins.resolver.settings.sites.{name}]
keystone = "{keystone}/v3"
region = "{region}"
gateway = "{gateway}"
"""


class Gateway:
    def __init__(self, site, plugins):
        self.site = site
        self.plugins = plugins
        self.folder = site.folder / "gateway"
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        for name in ("cinder.token", "operator.token", "ticket.key"):
            (self.folder / name).write_text(f"{name}-of-{site.name}-".ljust(40, "x"), encoding="utf-8")
        self.file = self.folder / "rsnap.toml"
        self.server = Server(
            f"gateway of {site.name}",
            [site.rsnap, "serve", "--config", self.file],
            site.folder / "gateway.out",
            self.is_ready,
        )

    def configure(self, sites):
        """The sites that it resolves: their names, and which each of them really is."""
        values = {
            "name": self.site.name,
            "folder": self.folder,
            "port": self.site.ports["gateway"],
            "admin": self.site.ports["gateway_admin"],
            "certificate": self.site.certificate,
            "key": self.site.key,
            "etcd": self.site.registry.address,
            "ceph": self.site.ceph,
            "plugins": self.plugins,
        }
        text = CONFIGURATION.format(**values)
        for name, site in sites.items():
            addresses = {"keystone": site.public("keystone"), "gateway": site.public("gateway")}
            text += SITE.format(name=name, region=site.name, **addresses)
        self.file.write_text(text, encoding="utf-8")

    def is_ready(self):
        try:
            address = f"http://127.0.0.1:{self.site.ports['gateway_admin']}/readyz"
            return urllib.request.urlopen(address, timeout=2).status == 200
        except OSError:
            return False
