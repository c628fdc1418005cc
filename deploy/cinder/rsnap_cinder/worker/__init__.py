"""cinder-rsnap: the service of Cinder's kind that carries copies out."""
