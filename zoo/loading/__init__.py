"""From a model's name to its folder, and from the folder to a model."""
