"""Renderers: a finished report in, text out. Nothing is judged here."""
