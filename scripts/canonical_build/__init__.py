"""How the canonical head and the shipped layouts are made; run by build_canonical.py."""
