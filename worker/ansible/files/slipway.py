"""What is shown of a stage's tasks."""

import os
import sys

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: slipway
    type: stdout
    short_description: shows the tasks of a stage
    description:
        - Shows each task with its line, what its commands print, and how it ended.
"""

# The modules whose commands pass their output on while they run.
LIVE = {"apt", "command", "dnf", "dnf5", "package", "pip", "shell", "yum"}
# The descriptor that lines are told on.
MARKER = 251
# Bytes that are shown of a value.
ROOM = 10000


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "slipway"

    def __init__(self):
        super().__init__()
        self._lines = self._read_lines()
        place = f"/proc/{os.getpid()}/fd/1"
        try:
            os.close(os.open(place, os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            self._live = False
        else:
            self._live = True
            os.environ["SLIPWAY_LIVE"] = place

    @staticmethod
    def _read_lines():
        with open(os.environ["SLIPWAY_LINES"], encoding="utf-8") as file:
            return {int(line): int(users) for line, users in (text.split() for text in file)}

    def _say(self, text):
        self._display.display(text)
        # What commands print meanwhile goes its own way to the same place.
        sys.stdout.flush()

    def _line(self, task):
        # PATH:LINE; a task that a file of the image brought in has no line in the configuration.
        path, _, line = (task.get_path() or "").rpartition(":")
        if path == os.environ["SLIPWAY_PLAYBOOK"] and line.isdigit():
            return self._lines.get(int(line), 0)
        return 0

    def _streams(self, result):
        task = result.task
        user = task.become_user if task.become else None
        name = task.action.rpartition(".")[2]
        return self._live and name in LIVE and not task.no_log and user in (None, "root")

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._start(task)

    def v2_playbook_on_handler_task_start(self, task):
        self._start(task)

    def _start(self, task):
        line = self._line(task)
        name = task.get_name().strip()
        if line:
            token = os.environ.get("SLIPWAY_MARKER", "")
            try:
                os.write(MARKER, f"\036{token}:{line}\036\n".encode())
            except OSError:
                pass
            self._say(f"task `{name}` (line {line})")
        else:
            self._say(f"task `{name}`")

    def _item(self, result):
        item = self._get_item_label(result.result)
        return f" (item {item})" if item is not None else ""

    def _notes(self, values):
        for warning in values.get("warnings") or ():
            self._say(f"warning: {warning}")

    def _output(self, result, values):
        if self._streams(result):
            return
        for stream in ("stdout", "stderr"):
            text = values.get(stream)
            if text and isinstance(text, str):
                self._say(text.rstrip("\n"))

    def _ended(self, result, word):
        values = result.result
        if "results" in values and not values.get("_ansible_item_result"):
            # Its items have been shown.
            self._notes(values)
            return
        self._output(result, values)
        self._notes(values)
        if result.task.action in constants._ACTION_DEBUG:
            self._debug(values)
        self._say(f"{word}{self._item(result)}")

    def _debug(self, values):
        shown = {key: value for key, value in values.items() if not key.startswith("_") and key not in ("changed", "failed", "warnings")}
        if set(shown) == {"msg"} and isinstance(shown["msg"], str):
            self._say(shown["msg"][:ROOM])
        else:
            self._say(self._dump_results(shown)[:ROOM])

    def v2_runner_on_ok(self, result):
        self._ended(result, "changed" if result.result.get("changed") else "ok")

    v2_runner_item_on_ok = v2_runner_on_ok

    def v2_runner_on_skipped(self, result):
        if "results" not in result.result:
            self._say(f"skipped{self._item(result)}")

    v2_runner_item_on_skipped = v2_runner_on_skipped

    def v2_runner_on_failed(self, result, ignore_errors=False):
        values = result.result
        if "results" in values and not values.get("_ansible_item_result"):
            self._notes(values)
            if any(item.get("failed") for item in values["results"]):
                return
        self._output(result, values)
        self._notes(values)
        for stream in ("module_stdout", "module_stderr"):
            if values.get(stream):
                self._say(str(values[stream]).rstrip("\n")[:ROOM])
        why = str(values.get("msg") or "no reason was given").strip()[:ROOM]
        code = f" (exit code {values['rc']})" if values.get("rc") not in (None, 0) else ""
        ignored = "; this is ignored" if ignore_errors else ""
        self._say(f"failed{self._item(result)}: {why}{code}{ignored}")

    def v2_runner_item_on_failed(self, result):
        self.v2_runner_on_failed(result)

    def v2_runner_on_unreachable(self, result):
        self._say(f"failed: {result.result.get('msg', 'the host cannot be reached')}")

    def v2_runner_retry(self, result):
        left = result.result.get("retries", 0) - result.result.get("attempts", 0)
        self._say(f"failed, trying again ({left} tries left)")
