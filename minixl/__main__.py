"""python -m minixl."""
from minixl.cli.main import main

main()
