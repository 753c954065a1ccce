"""`python -m chatgenbench`."""

from chatgenbench.cli import main

main()
