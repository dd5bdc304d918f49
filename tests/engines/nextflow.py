# SPDX-License-Identifier: Apache-2.0
"""A real Nextflow, of Maven Central alone.

How people install it asks other places of the network. Its core has all container engines and batch
systems; what is in plugins (clouds, Wave) is not there. Kept between runs, in the tests' cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accounts import Account
from filelock import FileLock
from needs import need
from stand_ins import cache_directory

VERSION = "25.04.4"
# Of all jars: their names and digests, as sha256sum(1) prints them.
_DIGEST = "4386bb014f245ce460bc139b30f6c2e9d6e253fb0a7cfc8ef6258d0de9844578"
# Of the version's own modules Maven Central has no nf-lang, but an earlier one. lib-trace it never
# had; it is for a service that nobody asks here.
_PROJECT = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId>
  <artifactId>nextflow</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.nextflow</groupId>
      <artifactId>nextflow</artifactId>
      <version>{VERSION}</version>
      <exclusions>
        <exclusion><groupId>io.seqera</groupId><artifactId>lib-trace</artifactId></exclusion>
      </exclusions>
    </dependency>
    <dependency>
      <groupId>io.nextflow</groupId>
      <artifactId>nf-lang</artifactId>
      <version>25.04.0</version>
    </dependency>
  </dependencies>
</project>
"""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
# What Nextflow's own launcher opens of Java to it.
_OPENED = (
    *("java.lang", "java.io", "java.nio", "java.net", "java.util", "java.util.regex"),
    *("java.util.concurrent.locks", "java.util.concurrent.atomic", "java.nio.file.spi"),
    *("sun.nio.ch", "sun.nio.fs", "sun.net.www.protocol.http", "sun.net.www.protocol.https"),
    *("sun.net.www.protocol.ftp", "sun.net.www.protocol.file", "jdk.internal.misc"),
    "jdk.internal.vm",
)


@dataclass(frozen=True)
class Nextflow:
    """Nextflow in an account: what is typed there as `nextflow`."""

    account: Account

    def prepare(self) -> None:
        """Install it there."""
        program = self.account.home / "nextflow"
        opened = " ".join(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED)
        # Compiling less costs half of the processor time of so short runs.
        java = "java -Djava.awt.headless=true -XX:TieredStopAtLevel=1"
        start = f'-cp "{_jars()}/*" nextflow.cli.Launcher "$@"'
        program.write_text(f"#!/bin/sh\nexec {java} {opened} $NXF_OPTS {start}\n")
        program.chmod(0o755)

    @property
    def variables(self) -> Mapping[str, str]:
        """What has it ask no network, and take little."""
        return {"NXF_OFFLINE": "true", "NXF_PLUGINS_DEFAULT": "false", "NXF_OPTS": "-Xmx256m"}

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """What is typed for `nextflow run`."""
        return [self.account.home / "nextflow", "run", "-ansi-log", "false", *arguments]


def need_java() -> None:
    """Skip a test where there is no Java, or nothing to fetch Nextflow with."""
    for program, package in {"java": "openjdk-17-jre-headless", "mvn": "maven"}.items():
        if shutil.which(program) is None:
            need(f"needs the Debian package {package}")


def _jars() -> Path:
    """Return the directory of the jars, fetched if need be."""
    need_java()
    cache = cache_directory()
    jars = cache / f"nextflow-{VERSION}"
    with FileLock(cache / "nextflow.lock"):
        if not jars.exists():
            making = cache / "making-nextflow"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            _fetch(making)
            (making / "jars").rename(jars)
            shutil.rmtree(making)
    return jars


def _fetch(directory: Path) -> None:
    (directory / "pom.xml").write_text(_PROJECT)
    own = f"-Dmaven.repo.local={directory / 'repository'}"
    target = f"-DoutputDirectory={directory / 'jars'}"
    subprocess.run(
        ["mvn", "--batch-mode", "--quiet", own, _COPY, target, "-DincludeScope=runtime"],
        cwd=directory,
        env={**os.environ, "HOME": str(directory)},
        capture_output=True,
        check=True,
    )
    listed = "".join(
        f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n"
        for jar in sorted((directory / "jars").iterdir())
    )
    assert hashlib.sha256(listed.encode()).hexdigest() == _DIGEST, listed
