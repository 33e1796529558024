"""Original scenes from `metaworld`, projected onto the universal skeleton."""
