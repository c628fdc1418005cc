"""Starts both sites, says where they are, and ends them when standard input is closed."""

import argparse
import json
import pathlib
import signal
import sys
import time

from . import statistics
from .authority import Authority
from .control import Control
from .process import finish
from .site import Site


def arguments():
    parser = argparse.ArgumentParser(prog="bed", description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="where everything lies; must not exist")
    parser.add_argument("--source", type=pathlib.Path, required=True, help="the repository")
    parser.add_argument("--rsnap", type=pathlib.Path, required=True, help="the program")
    parser.add_argument("--plugins", type=pathlib.Path, required=True, help="the built components")
    parser.add_argument("--package", type=pathlib.Path, required=True, help="where Cinder's extension is installed")
    parser.add_argument("--newest", type=pathlib.Path, required=True, help="Python with the newest releases")
    parser.add_argument("site", nargs=2, help="NAME=PYTHON=CEPH-CONFIGURATION of each site")
    return parser.parse_args()


class Watch:
    """Says what is done now, and when."""

    def __init__(self):
        self.began = time.monotonic()

    def say(self, text):
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", file=sys.stderr, flush=True)


def together(*preparations):
    """Runs steps of several sites side by side."""
    for steps in zip(*preparations, strict=True):
        finish([step() for step in steps])


def start(sites, name):
    for site in sites:
        site.servers[name].start()
    for site in sites:
        site.servers[name].wait()


def build(wanted):
    wanted.folder.mkdir(parents=True)
    wanted.authority = Authority(wanted.folder)
    sites = []
    for text in wanted.site:
        name, python, ceph = text.split("=", 2)
        sites.append(Site(name, wanted.folder, pathlib.Path(python), wanted, ceph))
    for site, peer in zip(sites, reversed(sites), strict=True):
        site.furnish(wanted, peer.name)
        site.gateway.configure({peer.name: peer})
    return sites


def bring_up(wanted, watch):
    sites = build(wanted)
    statistics.publish([site.ceph for site in sites], wanted.folder)
    watch.say("Ceph knows how full it is")
    together(*(site.keystone.prepare() for site in sites))
    watch.say("Keystone has its database and keys")
    for site in sites:
        site.database.install()
    for name in ("database", "etcd", "haproxy", "keystone"):
        start(sites, name)
    for site in sites:
        site.database.fill()
    for site in sites:
        site.keystone.fill(wanted.source)
    watch.say("Keystone runs, with users and catalogue")
    together(*(site.cinder.prepare() for site in sites))
    for name in ("gateway", "cinder", "worker"):
        start(sites, name)
        watch.say(f"{name} runs")
    return sites


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wanted, watch = arguments(), Watch()
    wanted.source, wanted.folder = wanted.source.resolve(), wanted.folder.absolute()
    sites = bring_up(wanted, watch)
    control = Control(wanted.folder / "control", {site.name: site for site in sites})
    for site in sites:
        site.write_openrc()
    description = {site.name: site.describe() for site in sites}
    ready = wanted.folder / "sites.json"
    ready.with_suffix(".new").write_text(json.dumps(description, indent=2), encoding="utf-8")
    ready.with_suffix(".new").rename(ready)
    watch.say("both sites are up")
    control.serve()
    for site in sites:
        for server in reversed(site.servers.values()):
            server.stop()


if __name__ == "__main__":
    main()
