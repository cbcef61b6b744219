"""Process specs and rendered configurations: addresses, order, arguments."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headrace.core.errors import NotFound
from headrace.core.home import Home
from headrace.flink.profile import cluster_settings, job_config, load_profile
from headrace.guard.lab.failover import ARCHIVE_WRITING, job_manager
from headrace.stack import flinkhome, kafka, specs
from headrace.stack.assets import Assets
from headrace.stack.context import StackContext
from headrace.stack.jdk import Jdk
from headrace.stack.options import StackOptions
from headrace.stack.ports import PORT_NAMES
from headrace.stack.specs import build_specs, process_names, select_names


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackContext:
    """A stack over a pretended installation; Flink's memory arguments are given."""
    wheel = tmp_path / "root/runtimes/flink/.venv/lib/python3.11/site-packages/pyflink"
    jars = {
        wheel / "lib": ("flink-dist-2.3.0.jar", "a.jar"),
        tmp_path / "root/build/jars/kafka-broker": ("kafka.jar",),
        tmp_path / "root/build/jars/connectors": ("kafka-connector.jar",),
        tmp_path / "root/build/jars/flink-extras": ("parquet.jar",),
        tmp_path / "root/build/jars/headrace": ("own.jar",),
    }
    for folder, names in jars.items():
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    parameters = flinkhome.JvmParameters(("-Xmx1m",), ("-D", "x=1"))
    monkeypatch.setattr(flinkhome, "jvm_parameters", lambda context: (parameters, parameters))
    home = Home(tmp_path / "home")
    return StackContext(
        home=home,
        assets=Assets(tmp_path / "root"),
        jdk=Jdk(Path("/jdk"), 17),
        ports={name: 25_000 + number for number, name in enumerate(PORT_NAMES)},
        options=StackOptions(),
        flink_settings=cluster_settings(home),
    )


def test_names_are_checked_and_kept_in_order() -> None:
    """`--only` takes names in any order; a typing error offers the nearest name."""
    assert select_names(StackOptions(), ["kafka", "valkey"]) == ["valkey", "kafka"]
    assert select_names(StackOptions(), []) == process_names(StackOptions())
    with pytest.raises(NotFound) as caught:
        select_names(StackOptions(), ["kafak"])
    assert "kafka" in caught.value.hint


def test_number_of_task_managers_is_an_option() -> None:
    """N+1 is configured in one place."""
    names = process_names(StackOptions(task_managers=3))
    assert [name for name in names if name.startswith("taskmanager")] == [f"taskmanager-{n}" for n in (1, 2, 3)]


def test_task_managers_have_fixed_ids_and_own_temporary_folders(context: StackContext) -> None:
    """Local recovery needs the same resource id after a restart; two TaskManagers must not share io.tmp.dirs."""
    built = {spec.name: spec for spec in build_specs(context, ["jobmanager", "taskmanager-1", "taskmanager-2"])}
    for name in ("taskmanager-1", "taskmanager-2"):
        assert f"taskmanager.resource-id={name}" in built[name].argv
        assert f"io.tmp.dirs={context.home.tmp / name}" in built[name].argv
        assert "-Xmx1m" in built[name].argv
    assert built["jobmanager"].argv[0] == "/jdk/bin/java"


def test_spares_warm_up_when_asked(context: StackContext) -> None:
    """The warm-up goes in front of the main class and knows broker and backend; a JobManager has one only when it can stand by."""
    quiet = build_specs(context, ["jobmanager", "taskmanager-1"])
    assert not [spec for spec in quiet if flinkhome.WARM_UP in spec.argv]
    warm = msgspec.structs.replace(context, options=StackOptions(warm_up_after_s=7))
    job, task = build_specs(warm, ["jobmanager", "taskmanager-1"])
    assert task.argv[task.argv.index(flinkhome.WARM_UP) + 1] == flinkhome.TASK_MANAGER
    (words,) = (word for word in task.argv if word.startswith("-Dheadrace.warm-up="))
    assert "after=7,kafka=127.0.0.1:25000,state=io.headrace.slimbase.SlimBaseStateBackendFactory," in words
    assert flinkhome.WARM_UP not in job.argv
    settings = context.flink_settings | {"high-availability.type": "zookeeper"}
    pair = msgspec.structs.replace(warm, flink_settings=settings)
    both = [job_manager(pair, f"jobmanager-{number}", f"10.0.0.{number}") for number in (1, 2)]
    marks = {word for spec in both for word in spec.argv if word.startswith("-Dheadrace.warm-up=")}
    assert {
        number for number in (1, 2) for word in marks if f"mark={context.home.run}/jobmanager-{number}.warm" in word
    } == {1, 2}


def test_job_managers_of_which_one_leads_have_a_class_archive_of_their_own(context: StackContext) -> None:
    """A standby must find the classes in it that restore a job; each of them writes to another file."""
    (alone,) = build_specs(context, ["jobmanager"])
    assert Path(alone.class_archive).name.startswith("jobmanager-")
    settings = context.flink_settings | {"high-availability.type": "zookeeper"}
    pair = msgspec.structs.replace(context, flink_settings=settings)
    both = [job_manager(pair, f"jobmanager-{number}", f"10.0.0.{number}") for number in (1, 2)]
    assert all(Path(spec.class_archive).name.startswith("failover-") for spec in both)
    written = {word for spec in both for word in spec.argv if word.startswith(ARCHIVE_WRITING)}
    assert len(written) == len(both)


def test_every_process_keeps_its_temporary_files_in_the_home(context: StackContext) -> None:
    """`down` can only remove what lies below the home."""
    for spec in build_specs(context, ["valkey", "kafka", "jobmanager", "taskmanager-1", "driver"]):
        assert spec.env["TMPDIR"] == str(context.home.tmp / spec.name)
        if "java" in spec.argv[0]:
            assert f"-Djava.io.tmpdir={context.home.tmp / spec.name}" in spec.argv
            assert "-XX:-UsePerfData" in spec.argv


def test_dependencies_on_processes_that_were_not_asked_for_are_dropped(context: StackContext) -> None:
    """A partial stack does not wait for what will never start."""
    specs_built = build_specs(context, ["kafka", "olap"])
    assert {spec.name: spec.after for spec in specs_built} == {"kafka": (), "olap": ()}


def test_a_program_that_is_not_installed_is_named(context: StackContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names process and module, and offers a start without it."""
    monkeypatch.setitem(specs.SERVICES, "gateway", ("headrace.absent.module", "gateway", ()))
    with pytest.raises(NotFound) as caught:
        build_specs(context, ["gateway"])
    assert caught.value.context == {"process": "gateway", "module": "headrace.absent.module"}
    assert "--only" in caught.value.hint


def test_flink_view_links_jars_of_all_groups_and_drops_stale_ones(context: StackContext) -> None:
    """Lib holds the wheel's jars and ours; a jar that was removed disappears; the wheel stays untouched."""
    flinkhome.write_flink_home(context)
    stale = context.home.flink / "lib" / "old.jar"
    stale.symlink_to("/nowhere.jar")
    flinkhome.write_flink_home(context)
    names = sorted(path.name for path in (context.home.flink / "lib").iterdir())
    assert names == ["a.jar", "flink-dist-2.3.0.jar", "kafka-connector.jar", "own.jar", "parquet.jar"]
    assert flinkhome.classpath(context).endswith("flink-dist-2.3.0.jar")
    text = (context.home.flink / "conf" / "config.yaml").read_text()
    assert 'rest.port: "25003"' in text
    assert "env.java.home: /jdk" in text
    assert 'heartbeat.interval: "1 s"' in text


def test_kafka_listens_on_loopback_only_and_makes_no_topics_by_itself(context: StackContext) -> None:
    """A typing error in a table must not become a topic; nobody outside reaches the broker."""
    lines = kafka.render_properties(context).splitlines()
    assert "listeners=PLAINTEXT://127.0.0.1:25000,CONTROLLER://127.0.0.1:25001" in lines
    assert "auto.create.topics.enable=false" in lines


def test_missing_assets_are_all_named(tmp_path: Path) -> None:
    """One error lists everything that `make setup` has to bring."""
    with pytest.raises(NotFound) as caught:
        Assets(tmp_path).check()
    assert caught.value.context["missing"] == (
        "jars/kafka-broker, jars/connectors, jars/flink-extras, runtimes/flink/.venv"
    )


def test_each_profile_setting_has_a_reason_and_stands_once() -> None:
    """The profile is data with reasons; a key written twice would hide one of them."""
    profile = load_profile()
    assert all(len(setting.reason) > 10 for setting in profile)
    assert len({setting.key for setting in profile}) == len(profile)


def test_job_part_of_the_profile_keeps_checkpoints_on(tmp_path: Path) -> None:
    """Cluster-wide checkpoint settings do not reach jobs submitted from Python, so each job carries them."""
    settings = job_config(Home(tmp_path))
    assert settings["execution.checkpointing.interval"] == "10 s"
    assert settings["execution.checkpointing.externalized-checkpoint-retention"] == "RETAIN_ON_CANCELLATION"
    assert settings["execution.checkpointing.dir"] == (tmp_path / "data" / "checkpoints").as_uri()
    assert "heartbeat.interval" not in settings
    assert set(settings) <= {setting.key for setting in load_profile()}


def test_config_is_flat_sorted_and_quoted() -> None:
    """Values are JSON strings, which YAML reads as they are, whatever they hold."""
    assert flinkhome.render_config({"b": "x: y # z", "a": "1"}) == 'a: "1"\nb: "x: y # z"\n'


def test_specs_are_plain_data(context: StackContext) -> None:
    """A spec can be written down and read back."""
    built = build_specs(context, ["kafka", "taskmanager-1", "driver"])
    assert msgspec.json.decode(msgspec.json.encode(built), type=list[specs.ProcessSpec]) == built
