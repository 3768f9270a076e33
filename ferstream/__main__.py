"""`python -m ferstream`: the command line."""

from . import main

main()
