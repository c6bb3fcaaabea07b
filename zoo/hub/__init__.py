"""Repositories of the Hub: asked, fetched, checked, and kept on this disk."""
