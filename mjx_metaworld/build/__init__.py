"""All that `make` does on the host before JAX: tables by task, settled hands, places on the skeleton."""
