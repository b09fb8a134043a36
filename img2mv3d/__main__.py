"""`python -m img2mv3d`: the same as the command `img2mv3d`.

In: the words on the command line. Out: an exit status. Why here: it works without an installed script.
"""

from img2mv3d.cli.app import main

if __name__ == "__main__":
    main()
