"""openstack volume snapshot copy …"""

import logging
import sys
import time

from openstack import exceptions
from osc_lib.command import command
from osc_lib import exceptions as client_exceptions

LOG = logging.getLogger(__name__)
COLUMNS = (
    ("id", "ID"),
    ("snapshot_id", "Snapshot ID"),
    ("site", "Site"),
    ("status", "Status"),
    ("progress", "Progress"),
    ("peer_volume_id", "Volume ID There"),
    ("peer_snapshot_id", "Snapshot ID There"),
)
LONG = (
    ("reason", "Reason"),
    ("notice", "Notice"),
    ("server", "Server"),
    ("created_at", "Created At"),
    ("updated_at", "Updated At"),
)
OVER = ("done", "failed", "cancelled")
# Between two questions while the user waits.
SECONDS = 2


class _Command:
    """What the commands have in common."""

    @property
    def volumes(self):
        return self.app.client_manager.sdk_connection.volume

    def ask(self, method, path, **more):
        answer = self.volumes.request(path, method, **more)
        exceptions.raise_from_response(answer)
        return answer.json() if answer.content else None

    def copy(self, identity):
        return self.ask("GET", f"/os-snapshot-copies/{identity}")["copy"]

    def row(self, copy, columns):
        """The notice is what the other site has lost or changed of earlier copies."""
        shown = {**copy, "notice": (copy.get("chain") or {}).get("notice")}
        return [shown[name] for name, _ in columns]


class CopySnapshot(_Command, command.ShowOne):
    _description = (
        "Copy a volume snapshot to another site. The copy is made in the background; the snapshot stays as it is, and "
        "cannot be deleted meanwhile."
    )

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("snapshot", metavar="<snapshot>", help="Snapshot to copy (name or ID)")
        parser.add_argument("--site", metavar="<site>", required=True, help="Site to copy the snapshot to")
        parser.add_argument("--wait", action="store_true", help="Wait until the copy is there, and show its progress")
        return parser

    def take_action(self, parsed_args):
        snapshot = self.volumes.find_snapshot(parsed_args.snapshot, ignore_missing=False)
        body = {"os-copy_to_site": {"site": parsed_args.site}}
        copy = self.ask("POST", f"/snapshots/{snapshot.id}/action", json=body)["copy"]
        if parsed_args.wait:
            copy = self.wait(copy["id"])
        columns = COLUMNS + LONG
        return [name for name, _ in columns], self.row(copy, columns)

    def wait(self, identity):
        """Until the copy is over; what the user sees meanwhile is on standard error."""
        shown = None
        while True:
            copy = self.copy(identity)
            now = f"{copy['status']} {copy['progress']}"
            if now != shown:
                print(now if not copy["reason"] else f"{now}: {copy['reason']}", file=sys.stderr)
                shown = now
            if copy["status"] == "done":
                return copy
            if copy["status"] in OVER:
                raise client_exceptions.CommandError(f"Copy {identity} {copy['status']}: {copy['reason']}")
            time.sleep(SECONDS)


class ListCopies(_Command, command.Lister):
    _description = "List copies of volume snapshots at other sites"

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("--snapshot", metavar="<snapshot>", help="Only copies of this snapshot (name or ID)")
        parser.add_argument("--site", metavar="<site>", help="Only copies at this site")
        parser.add_argument("--status", metavar="<status>", help="Only copies with this status")
        parser.add_argument("--all-projects", action="store_true", help="Include all projects (admin only)")
        parser.add_argument("--long", action="store_true", help="List additional fields in output")
        return parser

    def take_action(self, parsed_args):
        wanted = {"site": parsed_args.site, "status": parsed_args.status}
        if parsed_args.snapshot:
            wanted["snapshot_id"] = self.volumes.find_snapshot(parsed_args.snapshot, ignore_missing=False).id
        if parsed_args.all_projects:
            wanted["all_tenants"] = "1"
        wanted = {name: value for name, value in wanted.items() if value is not None}
        copies = self.ask("GET", "/os-snapshot-copies", params=wanted)["copies"]
        columns = COLUMNS + LONG if parsed_args.long else COLUMNS
        return [title for _, title in columns], [self.row(copy, columns) for copy in copies]


class CancelCopy(_Command, command.Command):
    _description = "Cancel copies of volume snapshots that are not over"

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("copy", metavar="<copy>", nargs="+", help="Copy to cancel (ID)")
        return parser

    def take_action(self, parsed_args):
        failed = 0
        for identity in parsed_args.copy:
            try:
                self.ask("DELETE", f"/os-snapshot-copies/{identity}")
            except exceptions.HttpException as fault:
                failed += 1
                LOG.error("Failed to cancel copy %s: %s", identity, fault)
        if failed:
            raise client_exceptions.CommandError(f"{failed} of {len(parsed_args.copy)} copies failed to cancel.")


class ReleaseVolume(_Command, command.Command):
    _description = (
        "Take volumes that another site copies snapshots to for use. The next copy from there makes another volume."
    )

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("volume", metavar="<volume>", nargs="+", help="Volume to release (name or ID)")
        return parser

    def take_action(self, parsed_args):
        for name in parsed_args.volume:
            volume = self.volumes.find_volume(name, ignore_missing=False)
            self.ask("POST", f"/volumes/{volume.id}/action", json={"os-release_copy": None})
