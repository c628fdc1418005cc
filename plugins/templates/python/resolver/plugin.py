"""The resolver my-plugin: addresses of sites by a naming scheme."""

import json
from typing import Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.resolver import Site
from wit_world.imports import settings


class Resolver(exports.Resolver):
    # Each call gets an object of its own, so what is kept belongs to the class.
    domain = ""
    sites = []

    def configure(self) -> None:
        """Reads the settings: the plugin's own table in the gateway's configuration."""
        table = json.loads(settings.get())
        Resolver.domain = table.pop("domain", None)
        Resolver.sites = table.pop("sites", None)
        if table:
            raise Err(f"settings: unknown key {next(iter(table))}")
        if not isinstance(Resolver.domain, str) or not isinstance(Resolver.sites, list):
            raise Err('settings: needs domain = "example.org" and sites = ["dc1"]')

    def resolve(self, name: str) -> Optional[Site]:
        if name not in Resolver.sites:
            return None
        return Site(
            name=name,
            keystone=f"https://keystone.{name}.{Resolver.domain}/v3",
            region="RegionOne",
            gateway=f"https://rsnap.{name}.{Resolver.domain}:8443",
        )
