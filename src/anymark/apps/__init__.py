"""What people do with what a detector finds: layouts from a few annotated photos. Needs no torch."""
