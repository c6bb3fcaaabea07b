"""A model as a folder on disk: read strictly, written whole, joined of several."""
