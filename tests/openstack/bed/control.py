"""The socket by which tests stop, kill and start the servers of a site: one request a connection, in JSON."""

import json
import os
import select
import socket
import sys


class Control:
    def __init__(self, path, sites):
        self.sites = sites
        self.ended = False
        self.socket = socket.socket(socket.AF_UNIX)
        # A socket's path may have a hundred bytes only: bound from within its folder, it has few.
        os.chdir(path.parent)
        self.socket.bind(path.name)
        self.socket.listen()

    def serve(self):
        """Until whoever started us is gone, which closes our standard input."""
        while True:
            ready, _, _ = select.select([self.socket, sys.stdin], [], [])
            if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
                return
            if self.socket in ready:
                connection, _ = self.socket.accept()
                with connection:
                    connection.settimeout(10)
                    connection.sendall(json.dumps(self.answer(connection)).encode())
                if self.ended:
                    return

    def answer(self, connection):
        try:
            request = json.loads(connection.makefile().readline())
            if request["do"] == "end":
                self.ended = True
                return {"done": True}
            site = self.sites[request["site"]]
            return {"done": self.carry_out(site, request)}
        except Exception as fault:  # whatever it is, the test that asked wants to know
            return {"fault": f"{type(fault).__name__}: {fault}"}

    def carry_out(self, site, request):
        match request["do"]:
            case "kill":
                site.servers[request["server"]].kill()
            case "stop":
                site.servers[request["server"]].stop()
            case "start":
                server = site.servers[request["server"]]
                server.start()
                server.wait()
            case "runs":
                return site.servers[request["server"]].runs()
            case "resolve":
                site.gateway.configure({name: self.sites[real] for name, real in request["sites"].items()})
            case other:
                raise ValueError(f"cannot do {other}")
        return True
