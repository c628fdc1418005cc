"""The policy my-plugin: sends the change since the newest snapshot that both sides hold with the same content."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.policy import Decision_Full, Decision_Incremental, Plan, Request
from wit_world.imports import settings


class Policy(exports.Policy):
    # Each call gets an object of its own, so what is kept belongs to the class.
    incremental = True

    def configure(self) -> None:
        """Reads the settings: the plugin's own table in the gateway's configuration."""
        table = json.loads(settings.get())
        Policy.incremental = table.pop("incremental", True)
        if table:
            raise Err(f"settings: unknown key {next(iter(table))}")
        if not isinstance(Policy.incremental, bool):
            raise Err("incremental: must be true or false")

    def decide(self, request: Request) -> Plan:
        if not Policy.incremental:
            return Plan(Decision_Full(), "the settings ask for full copies")
        # Both chains are oldest first, and `source` may go on after the wanted snapshot.
        there = {snapshot.root: snapshot.id for snapshot in request.target}
        base = None
        for snapshot in request.source:
            if snapshot.id == request.wanted.id:
                break
            base = there.get(snapshot.root, base)
        if base is None:
            return Plan(Decision_Full(), "no earlier snapshot is on the target")
        return Plan(Decision_Incremental(base), f"the target has {base} with the same content")
