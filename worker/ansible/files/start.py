"""Runs a playbook inside a build container."""

import os
import sys

sys.argv[0] = "ansible-playbook"

# Reading this checks the locale, for which LOCPATH names the controller's own: base images need not have it.
from ansible.cli.playbook import main

# The programs of the base image have locales of their own.
os.environ.pop("LOCPATH", None)

main(sys.argv)
