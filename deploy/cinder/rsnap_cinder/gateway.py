"""The questions that Cinder asks the gateway of its own site."""

import requests

from rsnap_cinder import faults
from rsnap_cinder import options

CONF = options.CONF


def site(name):
    """Where another site is: a document with `keystone`, `region` and `gateway`. The gateway's resolver decides."""
    answer = _ask(f"/v1/sites/{name}")
    if answer.status_code == 404:
        raise faults.UnknownSite(f"the gateway of this site knows no site {name}: {_detail(answer)}")
    return _document(answer)


def permission(volume, snapshot, size, project):
    """The gateway that shall receive a snapshot, and a ticket for it: the answer of GET /server, unchanged."""
    wish = {"volume": volume, "snapshot": snapshot, "size": size, "project": project}
    return _document(_ask("/server", wish))


def snapshots(volume):
    """The snapshots that are there whole. What is on its way is not shown."""
    answer = _ask(f"/v1/volumes/{volume}/snapshots")
    if answer.status_code == 404:
        return set()
    return {one["snapshot"] for one in _document(answer)["snapshots"]}


def give_up(volume, snapshot, size, project):
    """Ends what is on its way of a snapshot; the volume is then as its newest snapshot. Our role does not suffice, but
    it gets us a ticket for that transfer, which does."""
    ticket = permission(volume, snapshot, size, project)["ticket"]
    path = f"/v1/volumes/{volume}/snapshots/{snapshot}/uploads"
    answer = _ask(path, token=ticket)
    for upload in [] if answer.status_code == 404 else _document(answer)["uploads"]:
        if not upload.get("committed"):
            ended = _ask(upload["path"], token=ticket, method="DELETE")
            if ended.status_code not in (204, 404):
                _document(ended)


def _ask(path, parameters=None, token=None, method="GET"):
    settings = CONF.rsnap
    try:
        certificate = None
        if token is None:
            token, certificate = _credential(settings)
        return requests.request(
            method,
            settings.gateway.rstrip("/") + path,
            params=parameters,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            cert=certificate,
            auth=_as_it_is,
            verify=settings.gateway_ca or True,
            timeout=settings.gateway_timeout,
            allow_redirects=False,
        )
    except (requests.RequestException, OSError, AttributeError) as fault:
        raise faults.Unreachable(f"the gateway of this site cannot be asked ({settings.gateway}): {fault}")


def _as_it_is(request):
    """Without one of these, requests shows what ~/.netrc has for the host in place of a token or of nothing."""
    return request


def _credential(settings):
    """A token, or a certificate with its key: with both, the gateway would judge by the token alone."""
    if settings.gateway_certificate and not settings.gateway_token_file:
        return None, (settings.gateway_certificate, settings.gateway_key)
    if not settings.gateway_token_file:
        raise faults.NotAllowed(
            "there is nothing to show the gateway of this site: set gateway_token_file, or gateway_certificate and "
            "gateway_key, in [rsnap]"
        )
    with open(settings.gateway_token_file, encoding="ascii") as file:
        return file.read().strip(), None


def _document(answer):
    if answer.status_code in (401, 403):
        raise faults.NotAllowed(f"the gateway of this site does not accept who we are: {_detail(answer)}")
    if answer.status_code != 200:
        kind = faults.Refused if 400 <= answer.status_code < 500 and answer.status_code != 429 else faults.Unreachable
        raise kind(f"the gateway of this site answers {answer.status_code}: {_detail(answer)}")
    try:
        return answer.json()
    except ValueError as fault:
        raise faults.Unreachable(f"the gateway of this site gives no document: {fault}")


def _detail(answer):
    try:
        return answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
