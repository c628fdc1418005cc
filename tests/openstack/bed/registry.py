"""etcd, by which the gateways of a site know each other."""

from .process import Server, listens


class Registry:
    def __init__(self, site):
        clients, peers = site.ports["etcd"], site.ports["etcd_peer"]
        self.address = f"http://127.0.0.1:{clients}"
        itself = f"http://127.0.0.1:{peers}"
        arguments = ["etcd", "--name", site.name, "--data-dir", site.folder / "etcd", "--log-level", "warn"]
        arguments += ["--listen-client-urls", self.address, "--advertise-client-urls", self.address]
        arguments += ["--listen-peer-urls", itself, "--initial-advertise-peer-urls", itself]
        arguments += ["--initial-cluster", f"{site.name}={itself}"]
        self.server = Server(f"etcd of {site.name}", arguments, site.folder / "etcd.out", lambda: listens(clients))
