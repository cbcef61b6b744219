"""The right JDK is found; a wrong one is refused with what was seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.core.errors import Unsupported
from headrace.stack.jdk import Jdk, choose_jdk, read_jdk, system_jdks


def make_jdk(folder: Path, version: str) -> Path:
    """A folder that looks like an installed JDK."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").touch(mode=0o755)
    (folder / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\n')
    return folder


@pytest.mark.parametrize(("text", "version"), [("17.0.15", 17), ("21", 21), ("25.0.1", 25), ("1.8.0_392", 8)])
def test_version_is_read_from_the_release_file(tmp_path: Path, text: str, version: int) -> None:
    """No JVM is started to learn a version."""
    assert read_jdk(make_jdk(tmp_path / "jdk", text)) == Jdk(tmp_path / "jdk", version)


def test_java_home_that_fits_wins(tmp_path: Path) -> None:
    """JAVA_HOME is what the user meant."""
    home = make_jdk(tmp_path / "j21", "21.0.2")
    assert choose_jdk("", env={"JAVA_HOME": str(home)}, installed=[Jdk(tmp_path, 17)]).home == home


def test_java_home_that_does_not_fit_gives_way_to_an_installed_one(tmp_path: Path) -> None:
    """A machine whose default is 25 still runs when 17 is installed."""
    home = make_jdk(tmp_path / "j25", "25.0.1")
    chosen = choose_jdk(
        "", env={"JAVA_HOME": str(home)}, installed=[Jdk(tmp_path / "j25", 25), Jdk(tmp_path / "j17", 17)]
    )
    assert chosen.version == 17


def test_only_a_wrong_version_is_refused_with_all_that_was_seen(tmp_path: Path) -> None:
    """The error lists versions and places, and says how to get a right one."""
    home = make_jdk(tmp_path / "j25", "25.0.1")
    with pytest.raises(Unsupported, match="no JDK 17 or 21 found") as caught:
        choose_jdk("", env={"JAVA_HOME": str(home)}, installed=[Jdk(Path("/opt/j11"), 11)])
    assert caught.value.context["found"] == f"25 at {home}, 11 at /opt/j11"
    assert "openjdk-17" in caught.value.hint


def test_an_option_naming_a_wrong_jdk_is_never_overruled(tmp_path: Path) -> None:
    """What was configured by hand is not silently replaced."""
    home = make_jdk(tmp_path / "j25", "25.0.1")
    with pytest.raises(Unsupported, match="java-home"):
        choose_jdk(str(home), env={}, installed=[Jdk(tmp_path / "j17", 17)])
    with pytest.raises(Unsupported, match="java-home"):
        choose_jdk(str(tmp_path / "absent"), env={}, installed=[])


def test_installed_jdks_are_found_once(tmp_path: Path) -> None:
    """Links to the same installation count once."""
    home = make_jdk(tmp_path / "jvm" / "java-17", "17.0.1")
    (tmp_path / "jvm" / "default").symlink_to(home)
    found = [jdk for jdk in system_jdks([tmp_path / "jvm"]) if tmp_path in jdk.home.parents]
    assert found == [Jdk(home.resolve(), 17)]
