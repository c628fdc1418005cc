"""A real file system in a volume, made and checked without mounting it."""

import os
import pathlib
import random
import subprocess
import sys

BLOCK = 64 << 10


class Disk:
    """An ext4 image in a file, which is written to a volume as far as it has changed."""

    def __init__(self, folder, size=1 << 30):
        self.folder = pathlib.Path(folder)
        self.image = self.folder / "disk.raw"
        self.written = self.folder / "written.raw"
        for path in (self.image, self.written):
            with open(path, "wb") as file:
                file.truncate(size)
        self.files = {}
        _run("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", self.image)

    def put(self, name, megabytes, seed):
        """A file with content that nobody else has."""
        content = random.Random(seed).randbytes(megabytes << 20)
        local = self.folder / "local"
        local.write_bytes(content)
        if name in self.files:
            self._change(f"rm {name}")
        self._change(f"write {local} {name}")
        self.files[name] = content

    def _change(self, request):
        _run("debugfs", "-w", "-R", request, self.image)

    def write_to(self, site, volume):
        """What has changed since the last time, by Ceph's own library."""
        program = pathlib.Path(__file__).with_name("write_changes.py")
        _run(sys.executable, program, site.description["ceph"], f"volume-{volume.id}", self.image, self.written)


def read_back(site, image, folder):
    """An image of Ceph as a file."""
    path = pathlib.Path(folder) / "read.raw"
    path.unlink(missing_ok=True)
    site.rbd("export", "--no-progress", f"volumes/{image}", str(path))
    return path


def check(image, files, folder):
    """The file system is clean and has these files, with this content and no others."""
    _run("e2fsck", "-f", "-n", image)
    listed = _run("debugfs", "-R", "ls -p /", image)
    names = {line.split("/")[5] for line in listed.splitlines() if line.startswith("/")}
    assert names - {".", "..", "lost+found", ""} == set(files), names
    for name, content in files.items():
        out = pathlib.Path(folder) / "dumped"
        _run("debugfs", "-R", f"dump {name} {out}", image)
        assert out.read_bytes() == content, f"{name} has another content"


def _run(*command):
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
