"""The registry: what it may say, reading it, and the card of each model."""
