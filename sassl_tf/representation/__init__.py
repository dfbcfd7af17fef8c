"""Measures of features: extraction, nearest neighbours, rank and spread."""
