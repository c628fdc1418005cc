"""What is asked of the gateway of this site."""

import os
from unittest import mock

from rsnap_cinder import faults
from rsnap_cinder import gateway

from tests import base

UPLOADS = "/v1/volumes/v/snapshots/s/uploads"


class Answer:
    def __init__(self, status_code, document=None):
        self.status_code = status_code
        self.document = document or {}
        self.text = ""

    def json(self):
        return self.document


class CredentialTest(base.TestCase):
    def shown(self, **settings):
        """Gives what the gateway is shown."""
        self.set(gateway="https://gateway.example/", **settings)
        with mock.patch.object(gateway.requests, "request", return_value=Answer(200)) as request:
            gateway.site("dc2")
        return request.call_args.kwargs["headers"].get("Authorization"), request.call_args.kwargs["cert"]

    def test_a_certificate_is_enough(self):
        shown = self.shown(gateway_token_file=None, gateway_certificate="c.pem", gateway_key="c.key")
        self.assertEqual((None, ("c.pem", "c.key")), shown)

    def test_a_token_decides_alone(self):
        (self.folder / "token").write_text("of-the-role\n", encoding="ascii")
        token = str(self.folder / "token")
        shown = self.shown(gateway_token_file=token, gateway_certificate="c.pem", gateway_key="c.key")
        self.assertEqual(("Bearer of-the-role", None), shown)

    def test_what_netrc_has_for_the_host_is_not_shown(self):
        netrc, token = self.folder / "netrc", self.folder / "token"
        netrc.write_text("default login somebody password secret\n", encoding="ascii")
        token.write_text("of-the-role", encoding="ascii")
        self.set(gateway="https://gateway.example/", gateway_token_file=str(token))
        send = mock.patch.object(gateway.requests.Session, "send", return_value=Answer(200))
        with mock.patch.dict(os.environ, {"NETRC": str(netrc)}), send as sent:
            gateway.site("dc2")
        self.assertEqual("Bearer of-the-role", sent.call_args.args[0].headers["Authorization"])

    def test_nothing_to_show_is_a_fault(self):
        with self.assertRaisesRegex(faults.NotAllowed, "set gateway_token_file, or gateway_certificate"):
            self.shown(gateway_token_file=None)


class GiveUpTest(base.TestCase):
    def give_up(self, *answers):
        """Gives what was asked, with the token that was shown."""
        (self.folder / "token").write_text("of-the-role", encoding="ascii")
        self.set(gateway="https://gateway.example/", gateway_token_file=str(self.folder / "token"))
        permitted = Answer(200, {"ticket": "ticket"})
        with mock.patch.object(gateway.requests, "request", side_effect=[permitted, *answers]) as request:
            gateway.give_up("v", "s", 1, "project")
        calls = [(call.args, call.kwargs["headers"]["Authorization"]) for call in request.call_args_list]
        self.assertEqual((("GET", "https://gateway.example/server"), "Bearer of-the-role"), calls[0])
        self.assertTrue(all(token == "Bearer ticket" for _, token in calls[1:]))
        return [(method, address.removeprefix("https://gateway.example")) for (method, address), _ in calls[1:]]

    def test_what_is_not_committed_is_ended_with_a_ticket(self):
        uploads = [{"path": f"{UPLOADS}/done", "committed": {"snapshot": "s"}}, {"path": f"{UPLOADS}/half"}]
        asked = self.give_up(Answer(200, {"uploads": uploads}), Answer(204))
        self.assertEqual([("GET", UPLOADS), ("DELETE", f"{UPLOADS}/half")], asked)

    def test_what_is_not_there_needs_no_end(self):
        self.assertEqual([("GET", UPLOADS)], self.give_up(Answer(404)))
        gone = self.give_up(Answer(200, {"uploads": [{"path": f"{UPLOADS}/half"}]}), Answer(404))
        self.assertEqual(("DELETE", f"{UPLOADS}/half"), gone[1])

    def test_an_end_that_fails_is_told(self):
        half = Answer(200, {"uploads": [{"path": f"{UPLOADS}/half"}]})
        with self.assertRaises(faults.Unreachable):
            self.give_up(half, Answer(503, {"detail": "busy"}))
