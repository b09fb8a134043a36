"""`python -m img2mv3d`: the command `img2mv3d` without an installed script."""

from img2mv3d.cli.app import main

if __name__ == "__main__":
    main()
