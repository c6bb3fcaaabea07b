"""Data sets as they lie on disk: captions, pictures and features."""
