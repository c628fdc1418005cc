"""What users read with `openstack volume message list` when a copy has failed.

Cinder shows no free text there, only texts from a table. Ours are added to it when the extension or the worker is
loaded. Where they are not (the extension was removed), Cinder shows "unknown error" for messages that are still there.
"""

from cinder.message import api
from cinder.message import message_field

ACTION = ("rsnap", "copy snapshot to another site")

_ALSO = "The list of copies tells more."
DETAILS = {
    "failed": f"The copy failed and can be repeated. {_ALSO}",
    "unreachable": f"The other site could not be reached for too long. Repeat the copy later. {_ALSO}",
    "site": f"This site does not know where the other one is. Ask your administrator. {_ALSO}",
    "credentials": f"The other site does not accept this one. Ask your administrator. {_ALSO}",
    "refused": f"The other site refused the copy. {_ALSO}",
    "quota": "The quota at the other site does not suffice. Free some there, or have it raised, and repeat the copy.",
    "source": "The snapshot was deleted or has changed while it was copied.",
    "transfer": f"The data could not be transferred. Nothing of it is shown at the other site. {_ALSO}",
    "stale": "The other site stopped in the middle of its copy. Repeat the copy there, or delete this snapshot.",
}


def register():
    """Adds our texts to Cinder's table, once."""
    if ACTION not in message_field.Action.ALL:
        message_field.Action.ALL += (ACTION,)
        message_field.Detail.ALL += tuple(_detail(kind) for kind in DETAILS)


def _detail(kind):
    # The column has ten characters.
    return (f"rs-{kind[:7]}", DETAILS[kind])


def tell(context, snapshot_id, kind):
    """Leaves a message at a snapshot, for its owner."""
    kind = kind if kind in DETAILS else "failed"
    api.API().create(
        context,
        ACTION,
        resource_type=message_field.Resource.VOLUME_SNAPSHOT,
        resource_uuid=snapshot_id,
        detail=_detail(kind),
    )


register()
