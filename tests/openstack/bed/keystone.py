"""Keystone: its configuration, its first start, and who is in it."""

import json
import urllib.request

from .process import Server, begin, listens, run

PASSWORD = "a-password-of-the-test"
# The role of a peer's worker, which may make records of incoming snapshots and nothing else.
IMPORTER_ROLE = "snapshot_replicator"

CONFIGURATION = """[DEFAULT]
log_file = {folder}/keystone.log
public_endpoint = {public}
[database]
connection = sqlite:///{folder}/keystone.db?timeout=30
sqlite_synchronous = false
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = oslo_cache.dict
expiration_time = 600
[token]
provider = fernet
[fernet_tokens]
key_repository = {folder}/tokens
[fernet_receipts]
key_repository = {folder}/receipts
[credential]
key_repository = {folder}/credentials
"""


class Keystone:
    def __init__(self, site, source):
        self.site = site
        self.folder = site.folder / "keystone"
        self.folder.mkdir(parents=True, exist_ok=True)
        for keys in ("tokens", "receipts", "credentials"):
            (self.folder / keys).mkdir(exist_ok=True)
        self.file = self.folder / "keystone.conf"
        self.port = site.ports["keystone"]
        self.address = f"http://127.0.0.1:{self.port}/v3"
        public = site.public("keystone")
        self.file.write_text(CONFIGURATION.format(folder=self.folder, public=public), encoding="utf-8")
        self.server = Server(
            f"keystone of {site.name}",
            [site.python, source / "tests/openstack/serve_keystone.py", str(self.port)],
            site.folder / "keystone.out",
            lambda: listens(self.port),
            {"OS_KEYSTONE_CONFIG_DIR": str(self.folder), "OS_KEYSTONE_CONFIG_FILES": "keystone.conf"},
        )

    def manage(self, *arguments):
        """Begins a command of the administrator."""
        command = [self.site.python, "-c", "import sys; from keystone.cmd.manage import main; sys.exit(main())"]
        command += ["--config-file", self.file, *arguments]
        return begin(command, self.site.folder / "manage.out")

    def prepare(self):
        """The steps of a first start, each to be waited for before the next."""
        owner = ("--keystone-user", "root", "--keystone-group", "root")
        yield lambda: self.manage("db_sync")
        write_ahead = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('pragma journal_mode=wal')"
        database = self.folder / "keystone.db"
        yield lambda: begin([self.site.python, "-c", write_ahead, database], self.site.folder / "manage.out")
        yield lambda: self.manage("fernet_setup", *owner)
        yield lambda: self.manage("credential_setup", *owner)
        urls = [part for name in ("public", "internal", "admin") for part in self.url_of(name)]
        yield lambda: self.manage(
            "bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", self.site.name, *urls
        )

    def url_of(self, interface):
        address = self.address if interface == "admin" else self.site.public("keystone") + "/v3"
        return (f"--bootstrap-{interface}-url", address)

    def fill(self, source):
        """Projects, users, roles and the catalogue."""
        directory = Directory(self.address, self.site.name)
        service = directory.project("service")
        directory.user("cinder", service, "admin", "service")
        directory.user("rsnap", service, IMPORTER_ROLE)
        directory.user("gateway", service, "service", "admin")
        for project in ("demo", "other"):
            directory.user(project, directory.project(project), "member", "reader")
        directory.user("looker", directory.project("demo"), "reader")
        volumes = self.site.public("cinder") + "/v3/%(project_id)s"
        directory.service("block-storage", "cinder", volumes)
        register = [self.site.newest, source / "deploy/keystone/register.py", "--region", self.site.name]
        run(
            [*register, "--public", self.site.public("gateway")],
            self.site.folder / "manage.out",
            {**self.site.environment("admin", "admin"), "OS_AUTH_URL": self.address},
        )


class Directory:
    """Keystone as an administrator fills it."""

    def __init__(self, address, region):
        self.address = address
        self.region = region
        self.token = None
        user = {"name": "admin", "password": PASSWORD, "domain": {"id": "default"}}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        answer = self.ask("POST", "/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
        self.token = answer.headers["X-Subject-Token"]
        self.roles = {role["name"]: role["id"] for role in json.load(self.ask("GET", "/roles"))["roles"]}
        self.projects = {}

    def ask(self, method, path, document=None):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["X-Auth-Token"] = self.token
        data = None if document is None else json.dumps(document).encode()
        return urllib.request.urlopen(
            urllib.request.Request(self.address + path, method=method, data=data, headers=headers), timeout=60
        )

    def make(self, kind, **fields):
        return json.load(self.ask("POST", f"/{kind}s", {kind: fields}))[kind]["id"]

    def project(self, name):
        if name not in self.projects:
            self.projects[name] = self.make("project", name=name, domain_id="default")
        return self.projects[name]

    def user(self, name, project, *roles):
        user = self.make("user", name=name, password=PASSWORD, domain_id="default", default_project_id=project)
        for role in roles:
            if role not in self.roles:
                self.roles[role] = self.make("role", name=role)
            self.ask("PUT", f"/projects/{project}/users/{user}/roles/{self.roles[role]}")

    def service(self, kind, name, url):
        service = self.make("service", type=kind, name=name)
        for interface in ("public", "internal", "admin"):
            self.make("endpoint", interface=interface, region_id=self.region, service_id=service, url=url)
