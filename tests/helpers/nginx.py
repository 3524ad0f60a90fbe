"""An nginx for the tests of several replicas: the system's own, else the package manager's, unpacked and not installed.

Installing the package would start a server on port 80. `python -m tests.helpers.nginx --install` brings it in, or says
what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Where distributions put it, which is not on everybody's path; last, where `install` does.
UNPACKED = Path(sys.prefix) / "nginx"
FOLDERS = os.pathsep.join(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", str(UNPACKED / "usr/sbin")])
MISSING = "no nginx was found: `make nginx` brings one in where there is apt-get, else install the package 'nginx'"


def find_nginx() -> str | None:
    """The path of an nginx that can be started, or None."""
    path = shutil.which("nginx") or shutil.which("nginx", path=FOLDERS)
    if path is None:
        return None
    works = subprocess.run([path, "-v"], check=False, capture_output=True, timeout=20).returncode == 0
    return path if works else None


def install() -> str | None:
    """Unpack the package into the virtual environment; what was found, or None."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    with tempfile.TemporaryDirectory() as folder:
        # Who downloads as root does so as another user, who must be able to write here.
        Path(folder).chmod(0o777)
        for command in ([*prefix, "apt-get", "update"], ["apt-get", "download", "nginx"]):
            print("nginx:", " ".join(command), file=sys.stderr)
            # An old list of packages is no reason not to try.
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, cwd=folder)
        for package in Path(folder).glob("nginx_*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(UNPACKED)], check=False)
    return find_nginx()


if __name__ == "__main__":
    found = find_nginx() or (install() if "--install" in sys.argv else None)
    # The suite goes on without: what needs it fails there, each test by its name.
    print(found or MISSING)
