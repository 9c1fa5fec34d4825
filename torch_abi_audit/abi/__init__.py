"""Classifiers: what a library's facts mean for torch, for CPython and for its platform."""
