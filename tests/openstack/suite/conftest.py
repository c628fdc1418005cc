"""Both sites, and what must hold at them after every test."""

import pytest

from . import audit
from . import support


@pytest.fixture(scope="session")
def both():
    return support.sites()


@pytest.fixture(params=["dc1-dc2", "dc2-dc1"])
def pair(request, both):
    """Source and target, in both directions: each release is the source once and the target once."""
    source, target = request.param.split("-")
    return both[source], both[target]


@pytest.fixture
def source(pair):
    return pair[0]


@pytest.fixture
def target(pair):
    return pair[1]


@pytest.fixture(autouse=True)
def nothing_is_left(both):
    """After each test both sites are at rest and whole; then all is deleted, and no quota and no image is left."""
    yield
    for site in both.values():
        audit.settle(site)
    found = {site.name: audit.audit(site) for site in both.values()}
    for site in both.values():
        audit.clear(site)
    left = {site.name: audit.audit(site) for site in both.values()}
    assert not any(found.values()), found
    assert not any(left.values()), left
