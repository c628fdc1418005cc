"""What can go wrong with a copy, and what follows from it."""


class Fault(Exception):
    """A copy cannot go on like this. `kind` chooses what a user reads among the messages of the snapshot; the text is
    in the list of copies."""

    kind = "failed"
    # Whether the same may succeed later.
    heals = False


class Unreachable(Fault):
    """Somebody does not answer, or is not able to for the moment."""

    kind = "unreachable"
    heals = True


class UnknownSite(Fault):
    kind = "site"


class NotAllowed(Fault):
    kind = "credentials"


class Refused(Fault):
    """The peer takes this copy in no case as it is: quota, volume type, encryption, a project that is not there."""

    kind = "refused"


class OverQuota(Refused):
    kind = "quota"


class SourceGone(Fault):
    """The snapshot is not there any more, or is not what it was."""

    kind = "source"


class TransferFailed(Fault):
    kind = "transfer"


class TransferBroken(Unreachable):
    """The transfer ended, and another one may go better."""

    kind = "transfer"


class Cancelled(Fault):
    kind = "cancelled"


class TakenOver(Exception):
    """Another worker has this copy now: whoever notices must stop, and tell nobody anything."""
