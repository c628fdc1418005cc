"""Serves Keystone on loopback ports, with nothing but Python's own server: serve_keystone.py PORT [TLS-PORT PEM].

PEM holds a certificate and its key. The configuration is found through OS_KEYSTONE_CONFIG_DIR and
OS_KEYSTONE_CONFIG_FILES, as Keystone's own entry does.
"""

import socketserver
import ssl
import sys
import threading
import wsgiref.simple_server

arguments = sys.argv[1:]
del sys.argv[1:]
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
if len(arguments) > 1:
    secure = wsgiref.simple_server.make_server("127.0.0.1", int(arguments[1]), application, Server, Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments[2])
    # The handshake is made by the thread of the connection, so that a silent one keeps nobody waiting.
    secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
wsgiref.simple_server.make_server("127.0.0.1", int(arguments[0]), application, Server, Handler).serve_forever()
