"""How fast the zoo is where it is run: paired rounds beside the algorithms that were published."""
