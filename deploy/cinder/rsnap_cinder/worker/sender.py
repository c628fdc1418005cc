"""The child process that sends.

The bytes move in a program of their own, `rsnap send`: whatever threads Cinder runs on, they are not held up, and the
memory and the libraries of Ceph are not in this process. Its report goes to a file that is looked at now and then,
because waiting for a pipe means something else under each of Cinder's threading models.
"""

import json
import os
import subprocess

from rsnap_cinder import faults
from rsnap_cinder import options

CONF = options.CONF
DONE, FAILED, USAGE, REFUSED, NOT_ALLOWED, DAMAGED = range(6)
STOP_SECONDS = 10


class Sender:
    """One run of `rsnap send`, which ends with this process, however that ends."""

    def __init__(self, folder, copy, transfer, source, authorities):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.report = os.path.join(folder, f"{copy.id}.report")
        self.errors = os.path.join(folder, f"{copy.id}.errors")
        self.answer = os.path.join(folder, f"{copy.id}.answer")
        self._write_answer(transfer["answer"])
        command = ["setpriv", "--pdeathsig", "KILL", "--", CONF.rsnap.command, "send", "--json", *source]
        command += ["--volume", transfer["volume"], "--snapshot", transfer["snapshot"], "--answer", self.answer]
        command += ["--source-volume", copy.volume_id, "--source-snapshot", copy.snapshot_id, "--retries", "2"]
        command += ["--ca", authorities] if authorities else []
        with open(self.report, "wb") as report, open(self.errors, "wb") as errors:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=report, stderr=errors)

    def _write_answer(self, answer):
        """The ticket in it is a secret."""
        with open(os.open(self.answer, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(answer, file)

    def is_running(self):
        return self.child.poll() is None

    def progress(self):
        """How much of the image is done, in percent: of what is sent, not of what is proven before."""
        last = self._last("progress", stage="sending")
        if not last or not last.get("size"):
            return 0
        return min(98, int(98 * last["position"] / last["size"]))

    def result(self):
        """What it said at its end; or the fault that it ended with."""
        code = self.child.returncode
        if code == DONE:
            return self._last("done") or {}
        text = self._complaint() or f"rsnap send ended with {code}"
        kinds = {USAGE: faults.TransferFailed, REFUSED: faults.TransferFailed, DAMAGED: faults.SourceGone}
        raise kinds.get(code, faults.TransferBroken)(text)

    def stop(self):
        """Politely first. Nothing is sent any more when this returns."""
        if self.is_running():
            self.child.terminate()
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def clear(self):
        for file in (self.report, self.errors, self.answer):
            if os.path.exists(file):
                os.unlink(file)

    def _last(self, event, **fields):
        found = None
        for document in _documents(self.report):
            if document.get("event") == event and fields.items() <= document.items():
                found = document
        return found

    def _complaint(self):
        for document in reversed(list(_documents(self.errors))):
            for name in ("detail", "error", "message"):
                if isinstance(document.get(name), str):
                    return document[name]
        with open(self.errors, encoding="utf-8", errors="replace") as file:
            return file.read()[-500:].strip()


def _documents(path):
    """The lines of a report; the last one may be cut."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                document = json.loads(line)
            except ValueError:
                continue
            if isinstance(document, dict):
                yield document
