"""cinder-rsnap --config-file /etc/cinder/cinder.conf: the worker, which carries copies out."""

try:
    from cinder import monkey_patch

    monkey_patch.patch()
except ImportError:
    # Releases before the newest run on eventlet alone.
    import eventlet

    eventlet.monkey_patch()

import sys  # noqa: E402

from cinder.common import config  # noqa: E402, F401  registers the options of all services
from cinder import objects  # noqa: E402
from cinder import service  # noqa: E402
from cinder import version  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_log import log as logging  # noqa: E402

from rsnap_cinder import database  # noqa: E402

CONF = cfg.CONF


def main():
    objects.register_all()
    CONF(sys.argv[1:], project="cinder", version=version.version_string())
    logging.setup(CONF, "cinder")
    try:
        database.check()
    except database.NotReady as fault:
        sys.exit(f"cinder-rsnap: {fault}")
    worker = service.Service.create(
        binary="cinder-rsnap",
        topic="cinder-rsnap",
        manager="rsnap_cinder.worker.manager.CopyManager",
        service_name="rsnap",
    )
    service.serve(worker)
    service.wait()


if __name__ == "__main__":
    main()
