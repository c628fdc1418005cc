"""Cinder: API, scheduler and volume in one process, and the worker of rsnap in another."""

from .keystone import PASSWORD
from .process import Server, begin, listens

CONFIGURATION = """[DEFAULT]
state_path = {folder}/state
my_ip = 127.0.0.1
host = {name}
transport_url = fake://
auth_strategy = keystone
api_paste_config = {shipped}/api-paste.ini
resource_query_filters_file = {shipped}/resource_filters.json
rootwrap_config = {shipped}/rootwrap.conf
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {port}
osapi_volume_workers = 1
osapi_volume_extension = cinder.api.contrib.standard_extensions
osapi_volume_extension = rsnap_cinder.extension.SnapshotCopies
osapi_volume_extension = rsnap_cinder.extension.SnapshotImports
enabled_backends = rbd
default_volume_type = __DEFAULT__
image_conversion_dir = {folder}/conversion
report_interval = 2
service_down_time = 20
periodic_interval = 5
periodic_fuzzy_delay = 1
scheduler_driver_init_wait_time = 5
quota_volumes = 50
quota_snapshots = 100
quota_gigabytes = 1000
[database]
connection = {records}
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = cinder
password = {password}
cafile = {authority}
service_token_roles_required = true
service_token_roles = service
service_type = block-storage
[oslo_policy]
policy_file = {folder}/policy.yaml
[oslo_middleware]
enable_proxy_headers_parsing = true
[oslo_concurrency]
lock_path = {folder}/locks
[oslo_messaging_notifications]
driver = noop
[rbd]
volume_backend_name = rbd
volume_driver = cinder.volume.drivers.rbd.RBDDriver
rbd_pool = volumes
rbd_user = admin
rbd_ceph_conf = {ceph}
rbd_flatten_volume_from_snapshot = false
[rsnap]
site = {name}
sites = {sites}
connection = {copies}
gateway = {gateway}
gateway_ca = {authority}
gateway_token_file = {token}
command = {rsnap}
state_path = {folder}/copies
poll_interval = 1
lease = 20
retry_wait = 1
retry_wait_most = 5
retry_for = 120
stale_after = 60
"""

# For both names, so that a test may have one of them mean the other.
PEER = """[rsnap_site_{name}]
auth_type = password
username = rsnap
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
cafile = {authority}
"""


class Cinder:
    def __init__(self, site, tools, peer):
        self.site = site
        self.folder = site.folder / "cinder"
        for name in ("state", "locks", "conversion", "copies"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "cinder.conf"
        values = {
            "folder": self.folder,
            "name": site.name,
            "port": site.ports["cinder"],
            "shipped": site.newest.parent.parent / "etc/cinder",
            "keystone": f"http://127.0.0.1:{site.ports['keystone']}",
            "password": PASSWORD,
            "records": site.database.url("cinder"),
            "copies": site.database.url("rsnap"),
            "ceph": site.ceph,
            "gateway": site.public("gateway"),
            "authority": site.authority,
            "token": site.folder / "gateway/cinder.token",
            "rsnap": site.rsnap,
        }
        sites = sorted((site.name, peer))
        peers = (PEER.format(name=name, password=PASSWORD, authority=site.authority) for name in sites)
        self.file.write_text(CONFIGURATION.format(**values, sites=",".join(sites)) + "".join(peers), encoding="utf-8")
        self.environment = {"PYTHONPATH": str(tools.package), "PYTHONWARNINGS": "ignore"}
        program = tools.source / "tests/openstack/all_in_one.py"
        self.server = Server(
            f"cinder of {site.name}",
            [site.python, program, "--config-file", self.file, *self.log("cinder")],
            site.folder / "cinder.out",
            lambda: listens(site.ports["cinder"]),
            self.environment,
        )
        self.worker = Server(
            f"cinder-rsnap of {site.name}",
            [site.python, "-m", "rsnap_cinder.command.worker", "--config-file", self.file, *self.log("worker")],
            site.folder / "worker.out",
            lambda: True,
            self.environment,
        )

    def log(self, name):
        return ["--log-file", self.folder / f"{name}.log"]

    def prepare(self):
        """The steps of a first start, each to be waited for before the next."""
        log = self.site.folder / "manage.out"
        manage = [self.site.python, "-c", "import sys; from cinder.cmd.manage import main; sys.exit(main())"]
        yield lambda: begin([*manage, "--config-file", self.file, "db", "sync"], log, self.environment)
        ours = [self.site.python, "-m", "rsnap_cinder.command.manage", "--config-file", self.file, "sync"]
        yield lambda: begin(ours, log, self.environment)
