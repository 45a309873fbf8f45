"""Commands of the edge: they see identities, and send only pseudonyms. They need the `edge` extra alone."""
