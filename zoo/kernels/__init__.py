"""The hot paths behind aligners."""
