"""Tests of copies between the two sites of the bed, on real everything."""
