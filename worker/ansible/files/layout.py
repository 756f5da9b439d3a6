"""Tells where a Python and what is installed with it lie."""

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig

# What the module `apt` needs; distributions have it, PyPI has not.
APT = "import json, apt, apt_inst, apt_pkg, aptsources\nprint(json.dumps([m.__file__ for m in (apt, apt_inst, apt_pkg, aptsources)]))"


def apt(python):
    found = subprocess.run([python, "-I", "-c", APT], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return []
    files = json.loads(found.stdout)
    return [os.path.dirname(file) if os.path.basename(file) == "__init__.py" else file for file in files]


def main():
    try:
        ansible = importlib.metadata.version("ansible-core")
    except importlib.metadata.PackageNotFoundError:
        ansible = None
    python = os.path.realpath(sys._base_executable)
    packages = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    found = {
        "version": "%d.%d" % sys.version_info[:2],
        "executable": python,
        "standard": sysconfig.get_path("stdlib"),
        "packages": sorted(set(os.path.realpath(path) for path in packages)),
        "apt": apt(python),
        "ansible": ansible,
    }
    print(json.dumps(found))


main()
