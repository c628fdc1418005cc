"""Who may do what, as oslo.policy knows it; policy.yaml overrides it as for Cinder's own rules."""

from cinder import policy as cinder_policy
from cinder.policies import base
from oslo_policy import policy

COPY = "snapshot_extension:copy_to_site"
COPIES_GET = "snapshot_extension:copies_get"
COPIES_CANCEL = "snapshot_extension:copies_cancel"
IMPORT = "snapshot_extension:import"
RELEASE = "volume_extension:release_copy"

# A role that nobody has unless it is given: that of the peers' workers.
IMPORTER = "role:snapshot_replicator or rule:admin_api"

RULES = [
    policy.DocumentedRuleDefault(
        name=COPY,
        check_str=base.SYSTEM_ADMIN_OR_PROJECT_MEMBER,
        description="Copy a snapshot to another site.",
        operations=[{"method": "POST", "path": "/snapshots/{snapshot_id}/action (os-copy_to_site)"}],
    ),
    policy.DocumentedRuleDefault(
        name=COPIES_GET,
        check_str=base.SYSTEM_READER_OR_PROJECT_READER,
        description="Show copies of the project's snapshots.",
        operations=[
            {"method": "GET", "path": "/os-snapshot-copies"},
            {"method": "GET", "path": "/os-snapshot-copies/{copy_id}"},
        ],
    ),
    policy.DocumentedRuleDefault(
        name=COPIES_CANCEL,
        check_str=base.SYSTEM_ADMIN_OR_PROJECT_MEMBER,
        description="Cancel a copy of a snapshot.",
        operations=[{"method": "DELETE", "path": "/os-snapshot-copies/{copy_id}"}],
    ),
    policy.DocumentedRuleDefault(
        name=IMPORT,
        check_str=IMPORTER,
        description="Make and finish the records of a snapshot that comes from another site: for the peers' workers.",
        operations=[
            {"method": "POST", "path": "/os-snapshot-imports"},
            {"method": "GET", "path": "/os-snapshot-imports/{import_id}"},
            {"method": "PUT", "path": "/os-snapshot-imports/{import_id}"},
            {"method": "DELETE", "path": "/os-snapshot-imports/{import_id}"},
        ],
    ),
    policy.DocumentedRuleDefault(
        name=RELEASE,
        check_str=base.SYSTEM_ADMIN_OR_PROJECT_MEMBER,
        description="Take a volume that snapshots are copied to for use. The next copy makes another volume.",
        operations=[{"method": "POST", "path": "/volumes/{volume_id}/action (os-release_copy)"}],
    ),
]


def list_rules():
    """For oslopolicy-sample-generator."""
    return RULES


def register():
    """Adds our rules to Cinder's, once. Cinder has no public way to do so."""
    cinder_policy.init()
    enforcer = cinder_policy._ENFORCER
    for rule in RULES:
        if rule.name not in enforcer.registered_rules:
            enforcer.register_default(rule)
