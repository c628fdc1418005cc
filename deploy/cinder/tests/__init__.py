"""Tests of the package by itself: no site, no gateway, a database in memory's place."""
