"""MariaDB, where Cinder and its extension keep their records.

SQLite was refused: Cinder's services write from several processes, and what loses the race for the file there is told
"locked" and loses its change of the quota.
"""

import subprocess

from .process import Server, run

USER, PASSWORD = "bed", "a-password-of-the-bed"
CONFIGURATION = """[mariadbd]
datadir = {folder}/data
socket = {folder}/socket
pid-file = {folder}/pid
bind-address = 127.0.0.1
port = {port}
skip-name-resolve
performance_schema = off
innodb_buffer_pool_size = 32M
innodb_log_file_size = 16M
innodb_flush_log_at_trx_commit = 0
# The daemon refuses to run as root unless it is told so, and ignores this for everybody else.
user = {user}
"""


class Database:
    def __init__(self, site, user):
        self.port = site.ports["database"]
        self.folder = site.folder / "database"
        self.folder.mkdir()
        self.file = self.folder / "mariadb.cnf"
        text = CONFIGURATION.format(folder=self.folder, port=self.port, user=user)
        self.file.write_text(text, encoding="utf-8")
        daemon = ["mariadbd", f"--defaults-file={self.file}"]
        self.server = Server(f"mariadb of {site.name}", daemon, site.folder / "mariadb.out", self.answers)

    def install(self):
        options = [f"--defaults-file={self.file}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        run(["mariadb-install-db", *options], self.folder / "install.out")

    def fill(self):
        """An empty database for each user of it."""
        grant = f"create user '{USER}'@'127.0.0.1' identified by '{PASSWORD}'; grant all on *.* to '{USER}'@'127.0.0.1'"
        for statement in ("create database cinder", "create database rsnap", *grant.split("; ")):
            subprocess.run([*self.client(), "-e", statement], check=True, capture_output=True)

    def client(self):
        return ["mysql", "--no-defaults", "-h", "127.0.0.1", "-P", str(self.port), "-u", "root"]

    def answers(self):
        return subprocess.run([*self.client(), "-e", "select 1"], check=False, capture_output=True).returncode == 0

    def url(self, name):
        return f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"
