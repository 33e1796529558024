"""A page in the browser to watch and steer environments in, and replays in one file. Needs the extra `view`."""
