"""What Cinder is told to load:

    [DEFAULT]
    osapi_volume_extension = cinder.api.contrib.standard_extensions
    osapi_volume_extension = rsnap_cinder.extension.SnapshotCopies
    osapi_volume_extension = rsnap_cinder.extension.SnapshotImports

The first line is Cinder's default, which a list of one's own replaces. An extension that cannot be loaded is only a
warning in Cinder's log: look for both aliases in GET /v3/{project}/extensions. Extensions know no microversions: the
same at all of them.
"""

from cinder.api import extensions

from rsnap_cinder import copies
from rsnap_cinder import imports
from rsnap_cinder import messages  # noqa: F401  the texts of messages that this API shows
from rsnap_cinder import policies


class SnapshotCopies(extensions.ExtensionDescriptor):
    """Copy snapshots to other sites."""

    name = "SnapshotCopies"
    alias = "os-snapshot-copies"
    updated = "2026-11-01T00:00:00+00:00"

    def __init__(self, ext_mgr):
        super().__init__(ext_mgr)
        policies.register()

    def get_controller_extensions(self):
        return [extensions.ControllerExtension(self, "snapshots", copies.CopyAction())]

    def get_resources(self):
        return [extensions.ResourceExtension("os-snapshot-copies", copies.Copies())]


class SnapshotImports(extensions.ExtensionDescriptor):
    """Take snapshots from other sites."""

    name = "SnapshotImports"
    alias = "os-snapshot-imports"
    updated = "2026-11-01T00:00:00+00:00"

    def __init__(self, ext_mgr):
        super().__init__(ext_mgr)
        policies.register()

    def get_controller_extensions(self):
        return [extensions.ControllerExtension(self, "volumes", imports.ReleaseAction())]

    def get_resources(self):
        return [extensions.ResourceExtension("os-snapshot-imports", imports.Imports())]
