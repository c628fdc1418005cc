"""Where the data of a snapshot is, for the program that sends it."""

from cinder.volume import configuration
from cinder.volume.drivers import rbd
from cinder.volume import manager
from cinder.volume import volume_utils

from rsnap_cinder import faults
from rsnap_cinder import options

CONF = options.CONF


def arguments(volume, snapshot):
    """SOURCE and the options for its cluster, from the configuration of the volume's back end."""
    backend = volume_utils.extract_host(volume.host, "backend").partition("@")[2]
    settings = configuration.Configuration(rbd.RBD_OPTS, config_group=backend)
    driver = configuration.Configuration(manager.volume_backend_opts, config_group=backend).volume_driver
    if not driver.endswith(".RBDDriver"):
        raise faults.Refused(f"the volume lies in back end {backend or volume.host}, and only Ceph RBD can be read")
    source = f"rbd:{settings.rbd_pool}/{volume.name}@{snapshot.name}"
    user = CONF.rsnap.ceph_user or settings.rbd_user
    ceph = {"--ceph-conf": settings.rbd_ceph_conf, "--ceph-user": user}
    return [source, *(part for name, value in ceph.items() if value for part in (name, value))]
