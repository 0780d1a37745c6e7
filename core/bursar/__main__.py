"""`python -m bursar` is the command `bursar`, also where that is not on the path."""

from bursar.cli import main

if __name__ == "__main__":
    main(prog_name="bursar")
