"""Serves Keystone on a loopback port, with nothing but Python's own server: serve_keystone.py PORT.

The configuration is found through OS_KEYSTONE_CONFIG_DIR and OS_KEYSTONE_CONFIG_FILES, as Keystone's own entry does.
"""

import socketserver
import sys
import wsgiref.simple_server

port = int(sys.argv.pop(1))
from keystone.server import wsgi  # noqa: E402  (it reads sys.argv)


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True

    def server_bind(self):
        """Without the reverse look-up of the address, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]
        self.setup_environ()


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        """Keystone has a log of its own."""

    def get_environ(self):
        """The reference server invents a content type where there is none, and Keystone would read a body then."""
        environ = super().get_environ()
        if self.headers.get("content-type") is None:
            del environ["CONTENT_TYPE"]
        environ["CONTENT_LENGTH"] = environ.get("CONTENT_LENGTH") or "0"
        return environ


application = wsgi.initialize_public_application()
wsgiref.simple_server.make_server("127.0.0.1", port, application, Server, Handler).serve_forever()
