"""A new plugin as a package of its own, from the files in `template/`."""
