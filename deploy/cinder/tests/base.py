"""A configuration and a database of a test's own."""

import pathlib
import tempfile
import unittest

from cinder import objects
from oslo_config import cfg

from rsnap_cinder import database
from rsnap_cinder import options

CONF = cfg.CONF
objects.register_all()


class Context:
    user_id = "user"
    project_id = "project"
    project_name = "name"


class Snapshot:
    def __init__(self, identity="snapshot", volume="volume", project="project"):
        self.id = identity
        self.volume_id = volume
        self.project_id = project


class TestCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        CONF([], project="cinder", default_config_files=[])
        options.register()
        self.set(site="dc1", sites=["dc2"], connection=f"sqlite:///{self.folder}/rsnap.db?timeout=30", lease=60)
        self.addCleanup(CONF.reset)
        self.addCleanup(CONF.clear_override, "connection", group="rsnap")

    def set(self, **values):
        for name, value in values.items():
            CONF.set_override(name, value, group="rsnap")
            self.addCleanup(CONF.clear_override, name, group="rsnap")


class DatabaseCase(TestCase):
    def setUp(self):
        super().setUp()
        database.sync()
