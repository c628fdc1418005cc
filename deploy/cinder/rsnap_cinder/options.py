"""The options, in Cinder's own configuration file."""

from keystoneauth1 import loading
from oslo_config import cfg

CONF = cfg.CONF
GROUP = "rsnap"

OPTIONS = [
    cfg.StrOpt("site", help="Name of this site, as its peers call it."),
    cfg.ListOpt(
        "sites",
        default=[],
        help="Names of the peers, to which users may copy and from which copies are taken. Each needs a group "
        "[rsnap_site_NAME] with the credentials for its Keystone, in the options of keystoneauth. Where its Keystone "
        "is, the gateway says.",
    ),
    cfg.StrOpt(
        "connection",
        secret=True,
        help="Database of the copies, as in [database]. It may be Cinder's own or another one; all services of this "
        "site use the same. Make its tables with cinder-rsnap-manage sync.",
    ),
    cfg.StrOpt("gateway", help="The gateways of this site: https://host:port, best of the balancer before them."),
    cfg.StrOpt("gateway_ca", help="Certificates (PEM) to trust for the gateway, if not those of the system."),
    cfg.StrOpt(
        "gateway_token_file", help="File with the token for the gateway. The gateway knows it with the role ticket."
    ),
    cfg.StrOpt(
        "gateway_certificate",
        help="Certificate (PEM) to show the gateway instead of a token, which decides alone where it is given. The "
        "gateway knows it with the role ticket.",
    ),
    cfg.StrOpt("gateway_key", help="The private key (PEM) of gateway_certificate."),
    cfg.IntOpt("gateway_timeout", default=10, min=1, help="Seconds that the gateway may take for an answer."),
    cfg.StrOpt("command", default="rsnap", help="The program rsnap, which sends."),
    cfg.StrOpt("state_path", default="$state_path/rsnap", help="Folder for the files of running copies."),
    cfg.StrOpt("ceph_user", help="User of Ceph that reads snapshots, if not the one of the volume's back end."),
    cfg.IntOpt("transfers", default=4, min=1, help="How many copies one worker sends at once. The others wait."),
    cfg.IntOpt("poll_interval", default=2, min=1, help="Seconds between two looks for copies to be done."),
    cfg.IntOpt(
        "lease",
        default=60,
        min=5,
        help="Seconds after which a copy that its worker no longer cares for is taken over by another worker.",
    ),
    cfg.IntOpt("retry_wait", default=5, min=1, help="Seconds before the first repetition; each next waits longer."),
    cfg.IntOpt("retry_wait_most", default=300, min=1, help="The longest wait between two repetitions, in seconds."),
    cfg.IntOpt(
        "retry_for",
        default=24 * 60 * 60,
        min=1,
        help="Seconds without any progress after which a copy is given up. Until then what may heal is repeated.",
    ),
    cfg.IntOpt(
        "stale_after",
        default=60 * 60,
        min=10,
        help="Seconds after which an import that its source does not care for is given up at the peer.",
    ),
]

PEER_OPTIONS = [
    cfg.StrOpt("interface", default="public", help="Which of the peer's endpoints to use."),
    cfg.DictOpt(
        "projects",
        default={},
        help="Which project here takes what a project of the peer sends: id or name there, colon, id here. A project "
        "that is not listed goes to the one of the same name in the default domain.",
    ),
    cfg.DictOpt(
        "volume_types",
        default={},
        help="Volume types whose name differs: name there, colon, name here. Types that are not listed have the same "
        "name on both sides.",
    ),
]


def register():
    """Makes the options of [rsnap] known, as often as is liked."""
    CONF.register_opts(OPTIONS, group=GROUP)


def peer(site):
    """The group of a peer, with all its options known."""
    group = f"rsnap_site_{site}"
    loading.register_auth_conf_options(CONF, group)
    loading.register_session_conf_options(CONF, group)
    CONF.register_opts(PEER_OPTIONS, group=group)
    return group


def list_options():
    """For oslo-config-generator."""
    return [(GROUP, OPTIONS), ("rsnap_site_NAME", PEER_OPTIONS)]


register()
