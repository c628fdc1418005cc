"""The life of tokens limits no copy: they are needed for the request, and the worker gets itself new ones."""

from . import support
from .test_kills import filled
from .test_kills import on_its_way
from .test_kills import whole


def revoke(site, user):
    """Ends all tokens of an account, as a new password does; it is the one that it was. Gives a token that was good."""
    admin, address = site.cloud("admin").session, site.description["keystone"]
    old = site.cloud(user, "service" if user == "rsnap" else user).session.get_token()
    found = admin.get(f"{address}/users", params={"name": user}).json()["users"]
    body = {"user": {"password": site.description["password"]}}
    answer = admin.patch(f"{address}/users/{found[0]['id']}", json=body)
    assert answer.status_code == 200, answer.text
    return old


def is_good(site, token):
    address = f"{site.description['keystone']}/auth/tokens"
    shown = {"X-Auth-Token": token, "X-Subject-Token": token}
    session = site.cloud("admin").session
    answer = session.request(address, "GET", headers=shown, authenticated=False, raise_exc=False)
    return answer.status_code == 200


def test_tokens_that_end_in_the_middle_stop_no_copy(source, target):
    """That of the user at the source, and those of the worker's account at the peer."""
    snapshot = filled(source, "tokens")
    copy = source.begin_copy(snapshot, target.name)
    on_its_way(source, copy)
    ended = [(source, revoke(source, "demo")), (target, revoke(target, "rsnap"))]
    support.wait("the end of the tokens", lambda: not any(is_good(site, token) for site, token in ended))
    # Cinder remembers good tokens for minutes; started again, it asks Keystone about each.
    target.do("kill", "cinder")
    target.do("start", "cinder")
    whole(source, target, snapshot, source.end_of(copy))
