"""The child process: what it is told, what it says, how it ends."""

import json
import os
import pathlib
import stat
import time
import types

from rsnap_cinder import faults
from rsnap_cinder.worker import sender

from tests import base

SECRET = "a-ticket"
COPY = types.SimpleNamespace(id="copy", volume_id="v", snapshot_id="s")
TRANSFER = {"volume": "pv", "snapshot": "ps", "answer": {"server": "192.0.2.1:8443", "ticket": SECRET}}


class SenderTest(base.TestCase):
    def start(self, script):
        program = self.folder / "rsnap"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        self.set(command=str(program))
        child = sender.Sender(str(self.folder / "state"), COPY, TRANSFER, ["rbd:p/v@s"], "/ca.pem")
        self.addCleanup(child.stop)
        return child

    def ended(self, script):
        child = self.start(script)
        child.child.wait(60)
        return child

    def test_it_is_told_all_but_the_ticket_which_is_in_a_file_of_ours(self):
        child = self.ended('echo "$@" > ' + str(self.folder / "arguments"))
        arguments = (self.folder / "arguments").read_text()
        for part in ("send --json rbd:p/v@s", "--volume pv --snapshot ps", "--source-snapshot s", "--ca /ca.pem"):
            self.assertIn(part, arguments)
        self.assertNotIn(SECRET, arguments)
        self.assertEqual(0o600, stat.S_IMODE(os.stat(child.answer).st_mode))
        self.assertEqual(SECRET, json.loads(pathlib.Path(child.answer).read_text())["ticket"])
        child.clear()
        self.assertEqual([], os.listdir(self.folder / "state"))

    def test_its_progress_is_that_of_sending(self):
        proving = {"event": "progress", "stage": "proving", "position": 100, "size": 100}
        sending = {**proving, "stage": "sending", "position": 50}
        child = self.ended(f"echo '{json.dumps(sending)}'; echo '{json.dumps(proving)}'; printf '{{\"event\": '")
        self.assertEqual(49, child.progress())

    def test_each_end_has_its_fault(self):
        for code, kind in (
            (1, faults.TransferBroken),
            (2, faults.TransferFailed),
            (3, faults.TransferFailed),
            (4, faults.TransferBroken),
            (5, faults.SourceGone),
            (137, faults.TransferBroken),
        ):
            child = self.ended(f'echo \'{{"detail": "what happened"}}\' >&2; exit {code}')
            with self.assertRaisesRegex(kind, "what happened"):
                child.result()

    def test_a_good_end_is_its_outcome(self):
        said = json.dumps({"event": "done", "outcome": "committed"})
        self.assertEqual("committed", self.ended(f"echo '{said}'").result()["outcome"])

    def test_it_is_gone_when_it_was_stopped(self):
        child = self.start("sleep 600")
        time.sleep(0.2)
        child.stop()
        self.assertFalse(child.is_running())
