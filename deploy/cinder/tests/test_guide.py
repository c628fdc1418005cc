"""What the guide tells operators to write is what the code reads."""

import configparser
import pathlib
import re

from oslo_utils import importutils

from rsnap_cinder import options

from tests import base

GUIDE = pathlib.Path(__file__).parent.parent / "README.md"


class GuideTest(base.TestCase):
    def configuration(self):
        blocks = re.findall(r"```ini\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
        return "\n".join(line.strip() for block in blocks for line in block.splitlines())

    def test_its_options_are_ours(self):
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read_string(self.configuration())
        known = {option.name for option in options.OPTIONS}
        self.assertEqual(set(), set(parser["rsnap"]) - known - set(parser.defaults()))
        self.assertLess({"gateway_token_file", "gateway_certificate", "gateway_key"}, set(parser["rsnap"]))
        self.assertIn("rsnap_site_dc2", parser.sections())

    def test_its_extensions_can_be_loaded(self):
        named = re.findall(r"osapi_volume_extension = (rsnap_cinder\S+)", self.configuration())
        self.assertEqual(2, len(named))
        for name in named:
            self.assertTrue(importutils.import_class(name).alias)

    def test_every_option_has_a_help(self):
        for _, group in options.list_options():
            for option in group:
                self.assertTrue(option.help, option.name)
