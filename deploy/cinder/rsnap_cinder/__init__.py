"""Copies Cinder's snapshots from one site to another, with rsnap.

The same package serves both sides of a copy:

    source                                          peer
    user -> cinder-api (copies.py)                  cinder-api (imports.py) -> records.py, the gateway's GET /server
            cinder-rsnap (worker/) ---------------> same
            rsnap send ---------------------------> gateway of the peer
                                                    cinder-rsnap (worker/reaper.py)

Cinder itself is not patched: it is told by its configuration to load extension.py, and cinder-rsnap is a service of
Cinder's kind. Only extension.py and what it imports know Cinder's interface for extensions.
"""
