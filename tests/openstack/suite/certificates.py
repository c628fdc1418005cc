"""Sites whose Cinder shows its gateway a certificate and has no token; and, afterwards, the sites as they were."""

import contextlib
import getpass
import grp
import os
import pathlib
import re

from bed.authority import Authority
from bed.process import Server
from bed.process import free_ports
from bed.process import listens

BALANCER = pathlib.Path(__file__).parents[3] / "deploy/haproxy/passthrough.cfg"


def row(site):
    """Of `auth.certificates`: who Cinder of this site is."""
    return f'{{ name = "cinder", role = "ticket", uri = "{_identity(site)}" }}'


def _identity(site):
    return f"spiffe://{site.name}.test/cinder"


def gateway_file(site):
    return site.folder / "gateway/rsnap.toml"


@contextlib.contextmanager
def shown_at(site, folder):
    """Cinder's services reach their gateway with a certificate, through the balancer of the guide, and in no other way:
    the gateway does not know their token any more."""
    authority = Authority(folder)
    certificate, key, _ = authority.sign("cinder", [f"URI:{_identity(site)}"])
    with balanced(site, folder) as address:
        cinder = {
            "gateway": address,
            "gateway_token_file": None,
            "gateway_certificate": certificate,
            "gateway_key": key,
        }
        with (
            edited(site, gateway_file(site), lambda text: _for_certificates(site, text, authority), "gateway"),
            edited(site, _cinder_file(site), lambda text: _with_options(text, cinder), "worker", "cinder"),
        ):
            yield


def without_its_row(site):
    """The gateway does not know Cinder's certificate, for as long as this lasts."""
    return edited(site, gateway_file(site), lambda text: replaced(text, row(site), ""), "gateway")


@contextlib.contextmanager
def edited(site, file, edit, *servers):
    """A file with another content, for as long as this lasts; its readers are started again before and after."""
    before = file.read_text(encoding="utf-8")
    try:
        _rewrite(site, file, edit(before), servers)
        yield
    finally:
        _rewrite(site, file, before, servers)


def _rewrite(site, file, text, servers):
    for server in servers:
        site.do("stop", server)
    file.write_text(text, encoding="utf-8")
    for server in servers:
        site.do("start", server)


def replaced(text, old, new):
    assert text.count(old) == 1, f"{text.count(old)} times {old!r} in: {text}"
    return text.replace(old, new)


def _cinder_file(site):
    return pathlib.Path(site.description["configuration"])


def _for_certificates(site, text, authority):
    token = re.search(r'^ *\{ name = "cinder", .*\},\n', text, re.MULTILINE).group()
    text = replaced(text, token, "")
    text = replaced(text, "[tls]\n", f'[tls]\nclient_authorities = "{authority.certificate}"\n')
    return replaced(text, "[auth]\n", f"[auth]\ncertificates = [{row(site)}]\n")


def _with_options(text, options):
    """Options of [rsnap] with other values; those with none are not set."""
    for name in options:
        text = re.sub(rf"^{name} = .*\n", "", text, flags=re.MULTILINE)
    lines = "".join(f"{name} = {value}\n" for name, value in options.items() if value is not None)
    return replaced(text, "[rsnap]\n", f"[rsnap]\n{lines}")


@contextlib.contextmanager
def balanced(site, folder):
    """The balancer of the guide before the gateway of a site, which has the lines of all three: gives its address."""
    (port,), gateway = free_ports(1), f"127.0.0.1:{site.description['ports']['gateway']}"
    settings = {
        "RSNAP_VIP": f"127.0.0.1:{port}",
        "RSNAP_NAME": f"gateway.{site.name}.test",
        **{f"RSNAP_GATEWAY_{number}": gateway for number in (1, 2, 3)},
        "RSNAP_CA": site.description["authority"],
        "RSNAP_STATS": str(folder / "haproxy.sock"),
        "RSNAP_USER": getpass.getuser(),
        "RSNAP_GROUP": grp.getgrgid(os.getgid()).gr_name,
    }
    command = ["haproxy", "-db", "-f", BALANCER]
    server = Server(f"balancer of {site.name}", command, folder / "haproxy.out", lambda: listens(port), settings)
    server.start()
    try:
        server.wait()
        yield f"https://127.0.0.1:{port}"
    finally:
        server.stop()
