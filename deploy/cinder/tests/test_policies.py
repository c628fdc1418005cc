"""Rules, messages and options are known to Cinder."""

from cinder import context
from cinder.message import message_field
from cinder import policy

from rsnap_cinder import messages
from rsnap_cinder import policies

from tests import base


class PoliciesTest(base.TestCase):
    def setUp(self):
        super().setUp()
        policies.register()
        policies.register()

    def allowed(self, rule, roles, project="project", target="project"):
        caller = context.RequestContext(user_id="user", project_id=project, roles=roles, overwrite=False)
        return policy.authorize(caller, rule, {"project_id": target, "user_id": "user"}, do_raise=False)

    def test_members_copy_and_readers_look(self):
        self.assertTrue(self.allowed(policies.COPY, ["member"]))
        self.assertFalse(self.allowed(policies.COPY, ["reader"]))
        self.assertTrue(self.allowed(policies.COPIES_GET, ["reader"]))
        self.assertFalse(self.allowed(policies.COPIES_CANCEL, ["reader"]))
        self.assertFalse(self.allowed(policies.COPY, ["member"], target="other"))

    def test_only_the_role_imports(self):
        for roles in (["member"], ["service"], ["reader"]):
            self.assertFalse(self.allowed(policies.IMPORT, roles), roles)
        self.assertTrue(self.allowed(policies.IMPORT, ["snapshot_replicator"]))

    def test_every_rule_is_described(self):
        for rule in policies.list_rules():
            self.assertTrue(rule.description and rule.operations, rule.name)


class MessagesTest(base.TestCase):
    def test_the_texts_are_added_once_and_fit(self):
        before = len(message_field.Detail.ALL)
        messages.register()
        self.assertEqual(before, len(message_field.Detail.ALL))
        identities = [identity for identity, _ in message_field.Detail.ALL]
        self.assertEqual(len(identities), len(set(identities)))
        self.assertTrue(all(len(identity) <= 10 for identity in identities))
        self.assertEqual("copy snapshot to another site", message_field.translate_action("rsnap"))
        self.assertIn("quota", message_field.translate_detail("rs-quota"))
