"""How good features are: extraction, nearest neighbours, rank and spread."""
