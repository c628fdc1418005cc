"""The sample files say what the code says."""

import pathlib
import unittest

from rsnap_cinder import policies

SAMPLE = pathlib.Path(__file__).parent.parent / "policy.yaml.sample"


class SamplesTest(unittest.TestCase):
    def test_the_sample_of_the_policy_has_every_rule_as_it_is(self):
        text = SAMPLE.read_text(encoding="utf-8")
        for rule in policies.list_rules():
            self.assertIn(f'#"{rule.name}": "{rule.check_str}"', text)
            self.assertIn(rule.description.split(":")[0].split(".")[0], " ".join(text.replace("#", " ").split()))
        self.assertEqual(len(policies.list_rules()), text.count('#"'))
