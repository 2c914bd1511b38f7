"""What people do with what a detector finds: layouts from a few photos, points that are clicked and followed, paint,
regions, textures, bones, captured rigs, matches between heads. Needs no torch."""
