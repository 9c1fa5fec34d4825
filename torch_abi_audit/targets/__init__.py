"""Targets: what the user named, opened and split into claims and compiled members."""
