"""How much of each language a corpus should hold."""
