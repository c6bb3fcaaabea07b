"""Models to the Hub: checked, in one commit, fetched again, and then announced."""
