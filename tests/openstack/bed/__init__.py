"""Two OpenStack sites on the loopback address, each with everything that a copy between them touches.

A site is Keystone, Cinder (API, scheduler and volume in one process; the worker of rsnap in another), etcd, HAProxy and
a gateway, on a Ceph cluster that the caller brings. Everything listens on 127.0.0.1 with ports that are free at the
start, and ends with the process that started it, in whatever way that ends.
"""
