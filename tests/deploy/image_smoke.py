"""`make image-smoke`: the steps of Dockerfile for real, without a container engine and without its base image.

    apt-get install buildah debootstrap        # Debian; to be run as root

The base is a Debian made on the spot by debootstrap, with Debian's own Python, so what is shown is that every step
works, who the process runs as, and that it answers and ends in order; not that the pinned base image is as it should.
Everything stays in build/image-smoke; the base is kept for the next time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "image-smoke"
BASE, IMAGE = "localhost/pointsman-base", "localhost/pointsman-smoke"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
TIMEOUT_S = 900


def buildah(*arguments: str) -> str:
    # vfs and chroot: neither a kernel module nor a namespace is needed.
    environ = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
    place = ["--root", str(PLACE / "storage"), "--runroot", str(PLACE / "run")]
    policy = ["--signature-policy", str(PLACE / "policy.json")] if arguments[0] in ("commit", "bud", "from") else []
    done = subprocess.run(
        ["buildah", *place, arguments[0], *policy, *arguments[1:]],
        cwd=ROOT, env=environ, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    return done.stdout.strip()


def make_base() -> None:
    rootfs = PLACE / "rootfs"
    if not (rootfs / "usr" / "bin" / "python").exists():
        shutil.rmtree(rootfs, ignore_errors=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, rootfs], check=True, timeout=TIMEOUT_S
        )
        (rootfs / "usr" / "bin" / "python").symlink_to("python3")
    for name in ("proc", "sys"):
        # debootstrap mounts them and leaves them so: whoever copies the folder would copy this machine's processes.
        subprocess.run(["umount", rootfs / name], check=False, stderr=subprocess.DEVNULL)
    # pip finds its packages as it does on this machine.
    for name in ("etc/pip.conf", "etc/ssl/certs/ca-certificates.crt", "etc/hosts", "etc/resolv.conf"):
        if Path("/", name).exists():
            shutil.copy(Path("/", name), rootfs / name)
    container = buildah("from", "scratch")
    buildah("copy", "-q", container, str(rootfs), "/")
    buildah("commit", "-q", container, BASE)
    buildah("rm", container)


def run_image() -> None:
    container = buildah("from", "--pull-never", IMAGE)
    config = json.loads(buildah("inspect", container))["OCIv1"]["config"]
    print(json.dumps(config, indent=2))
    assert config["User"] == "65532:65532"
    assert "POINTSMAN_POLICY=/app/policy.plan" in config["Env"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        "buildah", "--root", str(PLACE / "storage"), "--runroot", str(PLACE / "run"), "run", "--isolation", "chroot",
        "-e", f"PORT={port}", "-e", "POINTSMAN_ANONYMOUS=1", container, "--", *config["Entrypoint"],
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "STORAGE_DRIVER": "vfs"})
    try:
        inner = until_served(port, process)
        status = Path(f"/proc/{inner}/status").read_text()
        assert "Uid:\t65532\t65532" in status, "the container runs as nobody"
        assert ask(port) == 200
        os.kill(inner, signal.SIGTERM)
        code = process.wait(timeout=30)
        assert code == 0, f"it ended with {code}"
    finally:
        process.kill()
        process.wait()
    buildah("rm", container)


def until_served(port: int, process: subprocess.Popen[bytes]) -> int:
    """Wait until the container answers; gives the id of its process."""
    for _ in range(600):
        assert process.poll() is None, "it ended before it answered"
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            ready = json.loads(connection.getresponse().read())
        except OSError:
            time.sleep(0.1)
            continue
        assert ready["ready"], ready
        return process_with(f"PORT={port}")
    raise AssertionError("it never answered")


def process_with(setting: str) -> int:
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            is_ours = b"handlers.cloud_run" in words and words[0].endswith(b"python")
            if is_ours and setting.encode() in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except (OSError, ValueError):
            continue
    raise AssertionError("its process is not to be found")


def ask(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "Hello"}]})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    print(response.status, response.headers["x-pointsman-policy"], response.read()[:200])
    return response.status


def main() -> int:
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print(f"image-smoke needs root and {' and '.join(missing) or 'nothing else'}; see its first lines")
        return 2
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    make_base()
    buildah("bud", "-q", "--pull-never", "--build-arg", f"PYTHON={BASE}", "-t", IMAGE, ".")
    run_image()
    print("image-smoke: built, answered as nobody, ended in order")
    return 0


if __name__ == "__main__":
    sys.exit(main())
