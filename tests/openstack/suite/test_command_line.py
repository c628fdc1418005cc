"""The commands for users, in the `openstack` client."""

import json
import subprocess
import sys


def run(site, line, code=0):
    command = [sys.executable, "-m", "openstackclient.shell", *line.split()]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=site.environment())
    assert done.returncode == code, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout, done.stderr


def test_a_user_copies_waits_and_lists(both):
    source, target = both["dc1"], both["dc2"]
    snapshot = source.snapshot(source.volume("typed"), "typed-snapshot")
    out, told = run(source, "volume snapshot copy typed-snapshot --site dc2 --wait -f json")
    copy = json.loads(out)
    assert (copy["status"], copy["site"], copy["progress"]) == ("done", "dc2", "100%")
    assert told.strip().splitlines()[-1] == "done 100%", told
    listed = json.loads(run(source, "volume snapshot copy list --snapshot typed-snapshot -f json")[0])
    assert [(row["Snapshot ID"], row["Site"], row["Status"]) for row in listed] == [(snapshot.id, "dc2", "done")]
    assert "Reason" in json.loads(run(source, "volume snapshot copy list --site dc2 --long -f json")[0])[0]
    assert run(source, "volume snapshot copy list --snapshot typed-snapshot --status failed -f value")[0] == ""
    assert "over" in run(source, f"volume snapshot copy cancel {copy['id']}", code=1)[1]
    run(target, f"volume release copy {copy['peer_volume_id']}")
    assert target.cloud().get_volume(copy["peer_volume_id"]).status == "available"


def test_mistakes_are_told_in_words(both):
    source = both["dc1"]
    source.snapshot(source.volume("wrong"), "wrong-snapshot")
    assert "There is no site dc9" in run(source, "volume snapshot copy wrong-snapshot --site dc9", code=1)[1]
    assert "nobody" in run(source, "volume snapshot copy nobody --site dc2", code=1)[1]
    assert "--site" in run(source, "volume snapshot copy wrong-snapshot", code=2)[1]


def test_the_help_says_what_it_does(both):
    said = run(both["dc1"], "volume snapshot copy --help")[0]
    assert "--site <site>" in said and "--wait" in said and "Copy a volume snapshot to another site" in said
    assert "--all-projects" in run(both["dc1"], "volume snapshot copy list --help")[0]
