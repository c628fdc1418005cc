"""Programs that run beside us, and commands that are waited for."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time

START_SECONDS = 180
STOP_SECONDS = 30
PR_SET_PDEATHSIG = 1
PORTS = range(32000, 32700)


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
    """Ports of the loopback address that nobody listens on now, all different.

    They are below the range that the kernel takes the ports of outgoing connections from.
    """
    with contextlib.ExitStack() as stack:
        ports = []
        for port in random.sample(PORTS, len(PORTS)):
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                ports.append(port)
            if len(ports) == count:
                return ports
    raise RuntimeError(f"fewer than {count} of the ports {PORTS} are free")


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
