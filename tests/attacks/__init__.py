"""Files that are made to harm, for tests that nothing of the zoo is harmed by them."""
