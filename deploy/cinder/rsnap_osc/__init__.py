"""Commands for the `openstack` client: copies of snapshots at other sites."""
