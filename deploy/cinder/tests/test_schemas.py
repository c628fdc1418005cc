"""The near misses of every request."""

import copy
import unittest

from cinder.api.validation import validators
from cinder import exception

from rsnap_cinder import schemas

IMPORT = {
    "import": {
        "site": "dc1",
        "copy_id": "c",
        "project": {"id": "p", "name": "demo"},
        "volume": {
            "id": "v",
            "name": None,
            "description": "d",
            "type": "__DEFAULT__",
            "bootable": False,
            "metadata": {"key": "value"},
            "image_metadata": {},
        },
        "snapshot": {
            "id": "s",
            "name": "n",
            "description": None,
            "metadata": {},
            "created_at": "2026-11-23T00:00:00",
            "size": 1,
        },
    }
}


def changed(path, value):
    document = copy.deepcopy(IMPORT)
    place = document["import"]
    *way, last = path.split(".")
    for name in way:
        place = place[name]
    place[last] = value
    return document


class SchemasTest(unittest.TestCase):
    def accept(self, schema, document):
        validators._SchemaValidator(schema).validate(document)

    def refuse(self, schema, document):
        with self.assertRaises(exception.ValidationError, msg=str(document)):
            self.accept(schema, document)

    def test_a_chain_may_be_told_and_is_bounded(self):
        one = {"source": "s", "snapshot": "t"}
        self.accept(schemas.IMPORT, changed("chain", {"complete": True, "copies": [one] * 500}))
        for chain in ([one], {"copies": [one]}, {"complete": True, "copies": [one] * 501}):
            self.refuse(schemas.IMPORT, changed("chain", chain))
        for copies in ([{}], [{**one, "more": 1}], [{**one, "source": "../s"}], [{**one, "snapshot": None}]):
            self.refuse(schemas.IMPORT, changed("chain", {"complete": True, "copies": copies}))

    def test_a_copy_names_a_site_and_nothing_else(self):
        self.accept(schemas.COPY, {"os-copy_to_site": {"site": "dc2"}})
        for site in ("", "a" * 64, "../dc2", "dc 2", "-dc2", 2, None, ["dc2"]):
            self.refuse(schemas.COPY, {"os-copy_to_site": {"site": site}})
        for body in ({}, {"os-copy_to_site": None}, {"os-copy_to_site": {"site": "dc2", "force": True}}):
            self.refuse(schemas.COPY, body)

    def test_a_release_says_nothing(self):
        for value in (None, {}):
            self.accept(schemas.RELEASE, {"os-release_copy": value})
        self.refuse(schemas.RELEASE, {"os-release_copy": {"force": True}})

    def test_an_import_is_whole(self):
        self.accept(schemas.IMPORT, IMPORT)
        for section in ("volume", "snapshot", "project"):
            for name in IMPORT["import"][section]:
                document = copy.deepcopy(IMPORT)
                del document["import"][section][name]
                if (section, name) != ("project", "name"):
                    self.refuse(schemas.IMPORT, document)

    def test_strangers_values_are_bounded(self):
        for path, value in (
            ("site", "dc/1"),
            ("snapshot.id", "../x"),
            ("snapshot.size", 0),
            ("snapshot.size", 1.5),
            ("snapshot.size", 1 << 31),
            ("volume.name", "n" * 256),
            ("volume.bootable", "yes"),
            ("volume.metadata", {"key": 1}),
            ("volume.metadata", {"k" * 256: "value"}),
            ("volume.metadata", {"": "value"}),
            ("snapshot.metadata", {str(number): "" for number in range(257)}),
            ("volume.host", "dc2@rbd"),
            ("volume_id", "v"),
        ):
            self.refuse(schemas.IMPORT, changed(path, value))

    def test_progress_is_a_percentage(self):
        for progress in ("0%", "37%", "100%"):
            self.accept(schemas.PROGRESS, {"import": {"status": "creating", "progress": progress}})
        for progress in ("101%", "-1%", "37", "37.5%", 37, "x"):
            self.refuse(schemas.PROGRESS, {"import": {"status": "creating", "progress": progress}})
        self.refuse(schemas.PROGRESS, {"import": {"status": "error"}})
