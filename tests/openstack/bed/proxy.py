"""HAProxy before Keystone, Cinder and the gateway of a site: the address that everybody else knows."""

from .process import Server, listens

CONFIGURATION = """global
    maxconn 1024
    stats socket {folder}/haproxy.sock mode 600 level admin
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend keystone
    mode http
    bind 127.0.0.1:{public_keystone} ssl crt {both} alpn http/1.1
    http-request set-header X-Forwarded-Proto https
    default_backend keystone
backend keystone
    mode http
    server keystone 127.0.0.1:{keystone}
frontend cinder
    mode http
    bind 127.0.0.1:{public_cinder} ssl crt {both} alpn http/1.1
    http-request set-header X-Forwarded-Proto https
    default_backend cinder
backend cinder
    mode http
    server cinder 127.0.0.1:{cinder}
frontend gateway
    mode tcp
    bind 127.0.0.1:{public_gateway}
    timeout client 15m
    default_backend gateways
backend gateways
    mode tcp
    timeout server 15m
    server gateway 127.0.0.1:{gateway}
"""


class Proxy:
    def __init__(self, site):
        file = site.folder / "haproxy.cfg"
        file.write_text(CONFIGURATION.format(folder=site.folder, both=site.both, **site.ports), encoding="utf-8")
        self.server = Server(
            f"haproxy of {site.name}",
            ["haproxy", "-db", "-f", file],
            site.folder / "haproxy.out",
            lambda: listens(site.ports["public_keystone"]),
        )
