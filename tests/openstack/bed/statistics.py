"""What Cinder's driver for Ceph asks a cluster before it is content: how full the pool is.

Only a manager counts that, and the monitor remembers its last word. So one runs until it has spoken once, and its third
of a gigabyte is free again.
"""

import json
import subprocess

from .process import Server, wait_until


def publish(configurations, folder):
    managers = []
    for number, configuration in enumerate(configurations):
        ceph = ["ceph", "-c", configuration]
        data = folder / f"manager-{number}"
        data.mkdir()
        key = subprocess.run(
            [*ceph, "auth", "get-or-create", "mgr.x", "mon", "allow profile mgr", "osd", "allow *"],
            check=True,
            capture_output=True,
        ).stdout
        (data / "keyring").write_bytes(key)
        arguments = ["ceph-mgr", "-c", configuration, "-i", "x", "-f", "--mgr-data", data]
        manager = Server("ceph-mgr", [*arguments, "--keyring", data / "keyring"], data / "out", lambda: True)
        manager.start()
        managers.append(manager)
    wait_until("the statistics of all pools", lambda: known(configurations))
    for manager in managers:
        manager.stop()


def known(configurations):
    return all(knows_pools(configuration) for configuration in configurations)


def knows_pools(configuration):
    command = ["ceph", "-c", configuration, "df", "--format", "json"]
    answer = subprocess.run(command, check=False, capture_output=True, timeout=60)
    return answer.returncode == 0 and bool(json.loads(answer.stdout)["pools"])
