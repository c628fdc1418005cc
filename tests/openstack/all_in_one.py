"""Cinder's API, scheduler and volume service in one process, so that they need no message broker between them.

    all_in_one.py --config-file cinder.conf

Works with Cinder 21 (Zed) and with the newest: what differs between them is asked for and not told by a version.
"""

try:
    from cinder import monkey_patch

    monkey_patch.patch()
except ImportError:
    import eventlet

    eventlet.monkey_patch()

import shlex  # noqa: E402
import sys  # noqa: E402

import os_brick  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_log import log as logging  # noqa: E402
from oslo_privsep import priv_context  # noqa: E402
from oslo_service import service as launchers  # noqa: E402

import cinder.cmd.volume  # noqa: E402, F401  registers options that the volume service reads
from cinder import objects, rpc, service, utils, version  # noqa: E402
from cinder.common import config, constants  # noqa: E402

CONFIGURATION = cfg.CONF


class OneOfSeveral(service.Service):
    """Cinder keeps the number of a service in an attribute of the class, for it expects one in a process. Without its
    own number a service would report that another one is alive."""

    def report_state(self):
        service.Service.service_id = self.origin_service_id
        super().report_state()


def launcher():
    try:
        return launchers.ServiceLauncher(CONFIGURATION, restart_method="mutate")
    except TypeError:
        return launchers.ServiceLauncher(CONFIGURATION)


def main():
    objects.register_all()
    CONFIGURATION(sys.argv[1:], project="cinder", version=version.version_string())
    logging.setup(CONFIGURATION, "cinder")
    config.set_middleware_defaults()
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    if hasattr(os_brick, "setup"):
        os_brick.setup(CONFIGURATION)
    rpc.init(CONFIGURATION)
    services = launcher()
    services.launch_service(OneOfSeveral.create(binary=constants.SCHEDULER_BINARY))
    for backend in CONFIGURATION.enabled_backends:
        host = f"{CONFIGURATION.host}@{backend}"
        volume = OneOfSeveral.create(host=host, service_name=backend, binary=constants.VOLUME_BINARY, coordination=True)
        services.launch_service(volume)
    services.launch_service(service.WSGIService("osapi_volume"))
    services.wait()


if __name__ == "__main__":
    main()
