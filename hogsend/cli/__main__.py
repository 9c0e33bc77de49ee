"""`python -m hogsend.cli`, which `hogsend dev` starts its children with."""

from hogsend.cli import main

main()
