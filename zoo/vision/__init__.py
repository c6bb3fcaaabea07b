"""From a photograph to region features."""
