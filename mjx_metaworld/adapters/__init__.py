"""Other libraries' interfaces, one leaf module each: nothing in the package imports them, import the one you need."""
