"""The policy weekly-full: sends changes, and a full copy when the last one is too old.

A chain of changes is as safe as its oldest part. A full copy now and then bounds how far back a restore must read.
"""

import json
from datetime import datetime, timezone
from typing import Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.policy import Decision_Full, Decision_Incremental, Plan, Request, TargetSnapshot
from wit_world.imports import clock, settings


MILLISECONDS_PER_DAY = 86_400_000


def date(milliseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(milliseconds // 1000, tz=timezone.utc):%Y-%m-%d}"
    except (OverflowError, ValueError):
        return "a day beyond all calendars"


def newest_common(request: Request) -> Optional[TargetSnapshot]:
    """The newest snapshot of the target with the content of one that comes before the wanted one at the source."""
    there = {snapshot.root: snapshot for snapshot in request.target}
    base = None
    for snapshot in request.source:
        if snapshot.id == request.wanted.id:
            break
        base = there.get(snapshot.root, base)
    return base


class Policy(exports.Policy):
    # Each call gets an object of its own, so what is kept belongs to the class.
    oldest = 7 * MILLISECONDS_PER_DAY

    def configure(self) -> None:
        """Reads the settings: the plugin's own table in the gateway's configuration."""
        table = json.loads(settings.get())
        days = table.pop("days", 7)
        if table:
            raise Err(f"settings: unknown key {next(iter(table))}")
        if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 3650:
            raise Err("days: must be a whole number of days, from 1 to 3650")
        Policy.oldest = days * MILLISECONDS_PER_DAY

    def decide(self, request: Request) -> Plan:
        base = newest_common(request)
        if base is None:
            return Plan(Decision_Full(), "no earlier snapshot is on the target")
        full = [snapshot for snapshot in request.target if snapshot.base is None]
        if not full:
            return Plan(Decision_Full(), "the target has no full copy of this volume")
        last = full[-1]
        when = f"the last full copy, {last.id}, is of {date(last.created)}"
        if clock.now() - last.created > Policy.oldest:
            return Plan(Decision_Full(), f"{when}, which is too old")
        return Plan(Decision_Incremental(base.id), when)
