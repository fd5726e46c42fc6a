"""HTTP: the serving process, generators, our own server."""
