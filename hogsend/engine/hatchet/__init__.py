"""The engine of clusters: Hatchet decides when. Nothing outside this package and `worker/hatchet.py` knows its SDK."""
