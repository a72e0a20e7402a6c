"""A qatscope in a tmux of its own: keys go in, the screen is read back; no sleeps, only waiting for what must come."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

QATSCOPE = os.environ.get("QATSCOPE", "")
TESTS = os.environ.get("QATSCOPE_TESTS", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
FIXTURES = os.path.join(TESTS, "fixtures", "ui")
WAIT = 20.0


def need():
    if not QATSCOPE or not os.path.exists(QATSCOPE):
        print("no qatscope binary: set QATSCOPE")
        sys.exit(77)
    if not shutil.which("tmux"):
        print("tmux is not installed")
        sys.exit(77)


class Tui:
    """A shell in a tmux window; run() starts a command line in it."""

    def __init__(self, w=100, h=30, env=None):
        self.dir = tempfile.mkdtemp(prefix="qatscope-tui-")
        self.socket = os.path.join(self.dir, "tmux")
        self.env = dict(os.environ, LC_ALL="C.UTF-8", PS1="ready> ", HOME=self.dir, XDG_STATE_HOME=os.path.join(self.dir, "state"),
                        XDG_CONFIG_HOME=os.path.join(self.dir, "config"),
                        SHELL="/bin/sh")
        self.env.pop("TMUX", None)
        self.env.update(env or {})
        conf = os.path.join(self.dir, "conf")
        with open(conf, "w") as f:
            f.write("set -g default-terminal screen-256color\nset -g escape-time 0\nset -g status off\n"
                    "set -g history-limit 0\n")
        self.base = ["tmux", "-S", self.socket, "-f", conf]
        subprocess.run(self.base + ["new-session", "-d", "-x", str(w), "-y", str(h), "/bin/sh"], env=self.env, check=True)
        self.until("ready>")

    def tmux(self, *args):
        return subprocess.run(self.base + list(args), env=self.env, check=True, stdout=subprocess.PIPE).stdout.decode()

    def screen(self):
        return self.tmux("capture-pane", "-p")

    @staticmethod
    def drawn(screen):
        """False for a frame of the explorer that is not all there yet: it is drawn from the top down, and ends with a line
        of hints (there is none where the window is too small for anything)."""
        return "would load:" not in screen or screen.rstrip("\n") == screen[:-1]

    def until(self, *wanted, **kw):
        """Waits until all texts are on the screen (and none of `gone`), and the screen stays as it is."""
        gone = kw.get("gone", ())
        end = time.time() + WAIT
        before = None
        while True:
            now = self.screen()
            if all(w in now for w in wanted) and not any(g in now for g in gone) and self.drawn(now) and now == before:
                return now
            before = now
            if time.time() > end:
                raise AssertionError("waited for %r without %r; the screen is\n%s" % (wanted, gone, now))
            time.sleep(0.02)

    def run(self, *args, **kw):
        """A command line typed into the shell."""
        self.type(" ".join("'%s'" % a for a in args) + kw.get("tail", "") + "\n")

    def type(self, text):
        for i, line in enumerate(text.split("\n")):
            if i:
                self.keys("Enter")
            if line:
                self.tmux("send-keys", "-l", line)

    def keys(self, *names):
        self.tmux("send-keys", *names)

    def open(self, *files, **kw):
        self.run(QATSCOPE, *files, tail=kw.get("tail", ""))
        return self.until("would load:")

    def pid(self):
        """Process id of the qatscope that runs in the window."""
        family = {self.tmux("display-message", "-p", "#{pane_pid}").strip()}
        out = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], stdout=subprocess.PIPE).stdout.decode()
        for _ in range(3):  # the shell may run under another one
            for line in out.splitlines():
                pid, parent, name = line.split(None, 2)
                if parent in family:
                    family.add(pid)
                    if name.strip() == "qatscope":
                        return int(pid)
        raise AssertionError("no qatscope under the shell: %r" % out)

    def close(self):
        subprocess.run(self.base + ["kill-server"], env=self.env, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def fixture(name):
    return os.path.join(FIXTURES, name)
