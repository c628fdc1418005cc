"""The commands of the operator's guide, carried out as they stand there."""

import os
import pathlib
import re
import subprocess
import sys

from . import support

GUIDE = pathlib.Path(__file__).parents[3] / "deploy/cinder/README.md"


def block(after):
    """The first block of commands after a text of the guide."""
    text = GUIDE.read_text(encoding="utf-8")
    found = re.search(r"```sh\n(.*?)```", text[text.index(after) :], re.DOTALL)
    return "\n".join(line.strip() for line in found.group(1).splitlines() if line.strip())


def shell(script, site, user, project):
    environment = site.environment(user, project)
    environment["PATH"] = f"{os.path.dirname(sys.executable)}:{environment['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", script], check=False, capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout


def test_what_an_operator_looks_at_shows_that_it_is_set_up(both):
    for site in both.values():

        def told(site=site):
            said = shell(block("**Look**"), site, "admin", "admin")
            return said if " up " in said else None

        said = support.wait("a worker that is up", told)
        assert "cinder-rsnap" in said
        assert {"os-snapshot-copies", "os-snapshot-imports"} <= set(said.split()), said


def test_tables_that_are_there_are_left_alone(both):
    for site in both.values():
        command = [site.description["python"], "-m", "rsnap_cinder.command.manage"]
        done = subprocess.run(
            [*command, "--config-file", site.description["configuration"], "sync"],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        assert done.returncode == 0 and "nothing to do" in done.stdout, done.stdout + done.stderr


def test_what_users_are_told_to_type_copies_a_snapshot(both):
    source, target = both["dc1"], both["dc2"]
    source.snapshot(source.volume("guided"), "guided")
    script = block("**For users**").replace("SNAPSHOT", "guided")
    assert "done" in shell(script, source, "demo", "demo")
    assert [one.name for one in target.cloud().snapshots()] == ["guided"]
