"""A site of the bed as a test sees it: through Cinder's interface as a user, and from below, as an auditor."""

import contextlib
import csv
import hashlib
import io
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.request

import openstack
import pymysql

SECONDS = 180
OVER = ("done", "failed", "cancelled")


def sites():
    path = os.environ.get("RSNAP_SITES")
    assert path, "the sites are started by: cargo xtask openstack test"
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    control = pathlib.Path(path).parent / "control"
    return {name: Site(name, site, control) for name, site in found.items()}


def wait(what, probe, seconds=SECONDS):
    """What the probe gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.3)


def file_digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Site:
    def __init__(self, name, description, control):
        self.name = name
        self.description = description
        self.folder = pathlib.Path(description["folder"])
        self.control = control
        self.clouds = {}

    # As a user.

    def cloud(self, user="demo", project=None):
        key = (user, project or ("admin" if user == "admin" else {"looker": "demo"}.get(user, user)))
        if key not in self.clouds:
            self.clouds[key] = openstack.connect(
                auth_url=self.description["keystone"],
                username=key[0],
                password=self.description["password"],
                project_name=key[1],
                user_domain_id="default",
                project_domain_id="default",
                region_name=self.name,
                cacert=self.description["authority"],
                load_yaml_config=False,
                load_envvars=False,
            ).block_storage
        return self.clouds[key]

    def environment(self, user="demo", project="demo"):
        """Of a shell in which the `openstack` command is used."""
        own = {
            "OS_AUTH_URL": self.description["keystone"],
            "OS_USERNAME": user,
            "OS_PASSWORD": self.description["password"],
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_REGION_NAME": self.name,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_CACERT": self.description["authority"],
            "PYTHONWARNINGS": "ignore",
        }
        return {**{name: value for name, value in os.environ.items() if not name.startswith("OS_")}, **own}

    def volume(self, name, size=1, **more):
        made = self.cloud().create_volume(size=size, name=name, **more)
        return self.cloud().wait_for_status(made, "available", ["error"], 0.5, SECONDS)

    def snapshot(self, volume, name, **more):
        made = self.cloud().create_snapshot(volume_id=volume.id, name=name, **more)
        return self.cloud().wait_for_status(made, "available", ["error"], 0.5, SECONDS)

    def clone(self, snapshot, name):
        made = self.cloud().create_volume(snapshot_id=snapshot.id, size=snapshot.size, name=name)
        return self.cloud().wait_for_status(made, "available", ["error"], 0.5, SECONDS)

    def ask_copy(self, snapshot, site, user="demo"):
        path = f"/snapshots/{snapshot.id}/action"
        return self.cloud(user).post(path, json={"os-copy_to_site": {"site": site}})

    def begin_copy(self, snapshot, site):
        def accepted():
            answer = self.ask_copy(snapshot, site)
            return answer if answer.status_code == 202 else None

        answer = wait("a worker that takes the copy", lambda: accepted() or self._unless_no_worker(snapshot, site))
        return answer.json()["copy"]

    def _unless_no_worker(self, snapshot, site):
        """A worker that was just started is not counted as up at once."""
        answer = self.ask_copy(snapshot, site)
        assert answer.status_code in (202, 503), answer.text
        return answer if answer.status_code == 202 else None

    def copy(self, identity):
        answer = self.cloud().get(f"/os-snapshot-copies/{identity}")
        assert answer.status_code == 200, answer.text
        return answer.json()["copy"]

    def end_of(self, copy, seconds=SECONDS):
        """The copy when it is over."""

        def ended():
            # A service that a test has killed may be the one that is asked.
            with contextlib.suppress(Exception):
                found = self.copy(copy["id"])
                return found if found["status"] in OVER else None

        return wait(f"the end of copy {copy['id']}", ended, seconds)

    def copied(self, snapshot, site):
        """Copies a snapshot and expects that it succeeds."""
        copy = self.end_of(self.begin_copy(snapshot, site))
        assert copy["status"] == "done", copy
        return copy

    def find_snapshot(self, identity):
        return self.cloud().get_snapshot(identity)

    def status_of(self, snapshot):
        return self.cloud().get_snapshot(snapshot.id).status

    # From below.

    def rbd(self, *arguments):
        return self._ceph("rbd", *arguments)

    def rados(self, *arguments):
        return self._ceph("rados", "-p", "volumes", *arguments)

    def _ceph(self, program, *arguments):
        command = [program, "-c", self.description["ceph"], *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def query(self, database, statement, *values):
        connection = pymysql.connect(
            **self.description["database"], database=database, cursorclass=pymysql.cursors.DictCursor
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def change(self, database, statement, *values):
        """Of a record, behind Cinder's back."""
        connection = pymysql.connect(**self.description["database"], database=database, autocommit=True)
        with connection, connection.cursor() as cursor:
            assert cursor.execute(statement, values) == 1, statement

    def do(self, action, server=None, **more):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(300)
            here = os.getcwd()
            os.chdir(self.control.parent)
            try:
                connection.connect(self.control.name)
            finally:
                os.chdir(here)
            request = {"do": action, "site": self.name, "server": server, **more}
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(connection.makefile().read())
        assert "fault" not in answer, answer
        return answer["done"]

    def proxied(self):
        """Bytes that callers have sent through HAProxy, by front end."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "haproxy.sock"))
            connection.sendall(b"show stat\n")
            text = connection.makefile().read()
        rows = csv.DictReader(io.StringIO(text.lstrip("# ")))
        return {row["pxname"]: int(row["bin"]) for row in rows if row["svname"] == "FRONTEND"}

    def received(self):
        """Bytes of snapshots that the gateway has received."""
        address = f"http://127.0.0.1:{self.description['ports']['gateway_admin']}/metrics"
        text = urllib.request.urlopen(address, timeout=10).read().decode()
        counted = (line.split() for line in text.splitlines())
        return next(int(words[1]) for words in counted if words[0] == "rsnap_received_bytes_total")
