"""Scoring all pairs of two collections: block by block, exactly, and in two passes."""
