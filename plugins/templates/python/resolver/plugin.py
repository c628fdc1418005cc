"""The resolver my-plugin: addresses of sites by a naming scheme."""

import json
from typing import Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.resolver import Site
from wit_world.imports import settings


class Resolver(exports.Resolver):
    def configure(self) -> None:
        """Reads the settings: the plugin's own table in the gateway's configuration."""
        table = json.loads(settings.get())
        self.domain = table.pop("domain", None)
        self.sites = table.pop("sites", None)
        if table:
            raise Err(f"settings: unknown key {next(iter(table))}")
        if not isinstance(self.domain, str) or not isinstance(self.sites, list):
            raise Err('settings: needs domain = "example.org" and sites = ["dc1"]')

    def resolve(self, name: str) -> Optional[Site]:
        if name not in self.sites:
            return None
        return Site(
            name=name,
            keystone=f"https://keystone.{name}.{self.domain}/v3",
            region="RegionOne",
            gateway=f"https://rsnap.{name}.{self.domain}:8443",
        )
