"""Datasets written anew: where images come from, and the forms that they are written in."""
