#!/usr/bin/env python3
"""Puts the gateways of a site into Keystone's catalogue: one service, and its endpoints in one region.

    register.py --region RegionOne --public https://rsnap.example.org:8443

The address is that of the balancer (the VIP), never of one gateway. Run it again after a change, from a deployment tool
at each run, once for each region: what is there already stays, what differs is updated, what is there twice is removed.

Credentials come as for the `openstack` command: OS_CLOUD with clouds.yaml, or the OS_* variables. The user needs the
right to change the catalogue (role admin). Whatever has the `openstack` command has what this needs (openstacksdk).

Why not the `openstack` command itself: it makes another service and other endpoints each time, so a script around it
has to list, compare and choose between them anyway, at a second or more for each of its calls.
"""

import argparse
import sys
import urllib.parse

try:
    import keystoneauth1.exceptions
    import openstack
except ImportError:
    sys.exit("register.py: openstacksdk is not installed: apt-get install python3-openstacksdk")

SERVICE_TYPE = "snapshot-transfer"
SERVICE_NAME = "rsnap"
DESCRIPTION = "Copies volume snapshots between sites"


def address(text):
    """An https URL of host and port, as callers expect it in the catalogue."""
    url = urllib.parse.urlsplit(text)
    if url.scheme != "https" or not url.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not like https://rsnap.example.org:8443")
    if url.path not in ("", "/") or url.query or url.fragment or url.username:
        raise argparse.ArgumentTypeError(f"{text!r} has more than host and port")
    return text.rstrip("/")


def arguments():
    parser = argparse.ArgumentParser(
        description="Puts the gateways of a site into Keystone's catalogue. Can be run again."
    )
    parser.add_argument("--region", required=True, help="the region of these gateways; it must exist")
    parser.add_argument("--public", required=True, type=address, metavar="URL", help="the address for everybody")
    parser.add_argument(
        "--internal", type=address, metavar="URL", help="the address for other services; default: the public one"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    return parser.parse_args()


class Catalogue:
    """The part of Keystone that is changed here. Says what it does, and does it unless it is only asked."""

    def __init__(self, identity, dry_run):
        self.identity = identity
        self.dry_run = dry_run
        self.changes = 0

    def change(self, what, do, **fields):
        self.changes += 1
        print(f"{'would be ' if self.dry_run else ''}{what}")
        return None if self.dry_run else do(**fields)

    def check_region(self, region):
        """A misspelt region would be a new one, where nobody looks."""
        regions = [known.id for known in self.identity.regions()]
        if region not in regions:
            sys.exit(f"register.py: there is no region {region}; there are: {', '.join(sorted(regions))}")

    def service(self):
        """Our service, made if it is not there. Somebody else's of the same type is left alone."""
        mine = [found for found in self.identity.services(type=SERVICE_TYPE) if found.name == SERVICE_NAME]
        if not mine:
            return self.change(
                f"created: service {SERVICE_NAME} of type {SERVICE_TYPE}",
                self.identity.create_service,
                type=SERVICE_TYPE,
                name=SERVICE_NAME,
                description=DESCRIPTION,
                is_enabled=True,
            )
        if len(mine) > 1:
            names = ", ".join(found.id for found in mine)
            sys.exit(f"register.py: service {SERVICE_NAME} is there {len(mine)} times ({names}): delete all but one")
        service = mine[0]
        if not service.is_enabled:
            self.change("enabled: the service", lambda: self.identity.update_service(service, is_enabled=True))
        return service

    def endpoint(self, service, region, interface, url):
        """Exactly one endpoint of the service in this region and interface, with this address."""
        there = []
        if service is not None:
            there = sorted(
                self.identity.endpoints(service_id=service.id, region_id=region, interface=interface),
                key=lambda found: (found.url != url, found.id),
            )
        for second in there[1:]:
            self.change(
                f"removed: the {interface} endpoint of {region} that was there twice ({second.url})",
                lambda second=second: self.identity.delete_endpoint(second),
            )
        if not there:
            self.change(
                f"created: {interface} endpoint of {region}, {url}",
                self.identity.create_endpoint,
                service_id=service.id if service else None,
                region_id=region,
                interface=interface,
                url=url,
                is_enabled=True,
            )
        elif there[0].url != url or not there[0].is_enabled:
            self.change(
                f"updated: {interface} endpoint of {region}, {there[0].url} is now {url}",
                lambda: self.identity.update_endpoint(there[0], url=url, is_enabled=True),
            )


def main():
    wanted = arguments()
    try:
        catalogue = Catalogue(openstack.connect().identity, wanted.dry_run)
        catalogue.check_region(wanted.region)
        service = catalogue.service()
        for interface, url in [("public", wanted.public), ("internal", wanted.internal or wanted.public)]:
            catalogue.endpoint(service, wanted.region, interface, url)
    except (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException) as fault:
        sys.exit(f"register.py: {fault}")
    if not catalogue.changes:
        print("nothing to do: the catalogue is as it should be")


if __name__ == "__main__":
    main()
