"""`python -m mjx_metaworld`, the same as `mjx-metaworld`."""

from mjx_metaworld.cli.main import main

main()
