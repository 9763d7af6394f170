"""Files of every kind -> documents: a module a kind, a line each in `formats.READERS`."""
