"""Programs that run beside us, and commands that are waited for."""

import contextlib
import ctypes
import fcntl
import functools
import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS = 180
STOP_SECONDS = 30
PR_SET_PDEATHSIG = 1
PORTS = 1000
_KEPT = []


def end_with_parent():
    """The kernel kills the program when whoever started it is gone; the starter has one thread, as that demands."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until(what, condition, seconds=START_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} has not happened within {seconds} s")
        time.sleep(0.1)


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def free_ports(count):
    """Ports of the loopback address that nobody listens on now, and that this process has not given out before."""
    ports = list(itertools.islice((port for port in _ours() if not listens(port)), count))
    if len(ports) < count:
        raise RuntimeError("this process has used up its ports")
    return ports


@functools.cache
def _ours():
    """The ports of this process, each once.

    They are below the range that the kernel takes the ports of outgoing connections from. The block is locked until the
    process ends, and it is one of those that `rsnap_test_ceph::free_port` locks: whoever tests beside us has another.
    HAProxy and radosgw share a port with whoever asks for it too, so binding to it would not tell that it is taken.
    """
    for first in range(10_000, 32_000, PORTS):
        lock = open(os.path.join(tempfile.gettempdir(), f"rsnap-ports-{first}.lock"), "a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _KEPT.append(lock)
        return iter(range(first, first + PORTS))
    raise RuntimeError("other processes have all ports")


def run(arguments, log, environment=None):
    """A command whose output goes to a file and matters when it fails."""
    finish([begin(arguments, log, environment)])


def begin(arguments, log, environment=None):
    with open(log, "ab") as output:
        child = subprocess.Popen(
            [str(part) for part in arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            preexec_fn=end_with_parent,
        )
    return child, log


def finish(commands):
    """Waits for commands that run at the same time."""
    for child, log in commands:
        if child.wait():
            raise RuntimeError(f"{' '.join(child.args)} ended with {child.returncode}:\n{tail(log)}")


def tail(log, lines=25):
    with open(log, encoding="utf-8", errors="replace") as text:
        return "".join(text.readlines()[-lines:])


class Server:
    """A program that runs until it is ended, and can be started again as it was."""

    def __init__(self, name, arguments, log, ready, environment=None):
        self.name = name
        self.arguments = arguments
        self.log = log
        self.ready = ready
        self.environment = environment
        self.child = None

    def start(self):
        if self.runs():
            return
        self.child, _ = begin(self.arguments, self.log, self.environment)

    def runs(self):
        return self.child is not None and self.child.poll() is None

    def wait(self):
        def is_ready():
            if not self.runs():
                raise RuntimeError(f"{self.name} ended with {self.child.returncode}:\n{tail(self.log)}")
            return self.ready()

        wait_until(f"the start of {self.name}", is_ready)

    def kill(self):
        """As a crash ends it."""
        if self.runs():
            self.child.kill()
            self.child.wait()

    def stop(self):
        if self.runs():
            self.child.terminate()
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
