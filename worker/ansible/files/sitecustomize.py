"""Passes on the output of commands while they run.

Modules gather what commands print and return it at their end. When the playbook names a place for it, the commands of
the modules listed here are read line by line, and every line is written there as soon as it is whole.
"""

import os
import sys

BASIC = "ansible.module_utils.basic"
MODULES = {"apt", "command", "dnf", "dnf5", "pip"}


class Copied:
    """The read end of a pipe whose lines are passed on."""

    def __init__(self, pipe, place, hide):
        self._pipe, self._place, self._hide, self._rest = pipe, place, hide, b""

    def read(self, *arguments):
        data = self._pipe.read(*arguments)
        if data:
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            for line in lines:
                self._pass(line)
        elif data is not None and self._rest:
            self._pass(self._rest)
            self._rest = b""
        return data

    def _pass(self, line):
        try:
            os.write(self._place, self._hide(line.rstrip(b"\r").rpartition(b"\r")[2]) + b"\n")
        except OSError:
            pass

    def __getattr__(self, name):
        return getattr(self._pipe, name)


def live(basic, place):
    """Has AnsibleModule.run_command pass lines on."""
    plain = basic.AnsibleModule.run_command

    def hiding(module):
        values = [value for value in module.no_log_values if value]

        def hide(line):
            if not values:
                return line
            text = basic.remove_values(line.decode("utf-8", "surrogateescape"), values)
            return text.encode("utf-8", "surrogateescape")

        return hide

    def run_command(self, *arguments, before_communicate_callback=None, **options):
        name = str(getattr(self, "_name", "")).rpartition(".")[2]
        words = arguments[0] if arguments else options.get("args")
        program = os.path.basename(str(words[0] if isinstance(words, (list, tuple)) and words else words))
        # Modules ask for the locales on their own account.
        if name not in MODULES or program == "locale" or self.no_log or options.get("prompt_regex"):
            options["before_communicate_callback"] = before_communicate_callback
            return plain(self, *arguments, **options)
        try:
            out = os.open(place, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            options["before_communicate_callback"] = before_communicate_callback
            return plain(self, *arguments, **options)

        def started(command):
            if before_communicate_callback:
                before_communicate_callback(command)
            hide = hiding(self)
            command.stdout = Copied(command.stdout, out, hide)
            command.stderr = Copied(command.stderr, out, hide)

        try:
            return plain(self, *arguments, before_communicate_callback=started, **options)
        finally:
            os.close(out)

    basic.AnsibleModule.run_command = run_command


class Loader:
    """Loads what another loader finds, and changes it."""

    def __init__(self, loader, place):
        self._loader, self._place = loader, place

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        live(module, self._place)

    def __getattr__(self, name):
        return getattr(self._loader, name)


class Finder:
    """Finds the module to change, once."""

    def __init__(self, place):
        self._place = place

    def find_spec(self, name, path=None, target=None):
        if name != BASIC:
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader, self._place)
        return spec


place = os.environ.get("SLIPWAY_LIVE")
# Others than root cannot open the output; what their commands print is shown at the end.
if place and os.geteuid() == 0:
    sys.meta_path.insert(0, Finder(place))
