"""docker-compose.yml and the image keep their rules; nothing but Python is needed to see that."""

import copy
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from streams.cli import app
from streams.programs import KAFKA
from streams.settings import Settings
from tests.compose.reader import read

OWN_IMAGE = "cpn-twin:local"
Compose = dict[str, Any]

# what the file asks the shell or .env for; the settings of processes are CPN_… too, and stand under `environment`
ASKED = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def text_of(repository: Path) -> str:
    return (repository / "docker-compose.yml").read_text("utf-8")


def filled(text: str, **given: str) -> str:
    """The file as compose sees it: variables in ``given``, or their defaults."""
    return ASKED.sub(lambda found: given.get(found[1], found[2] or ""), text)


@pytest.fixture
def compose(repository: Path) -> Compose:
    return read(filled(text_of(repository)))


# -------------------------------------------------------------------------------------------------------- the rules


def says_its_user(service: Compose) -> bool:
    user = str(service.get("user", ""))
    return bool(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user))


def image_is_pinned(service: Compose) -> bool:
    name, _, tag = service.get("image", "").rpartition(":")
    return bool(name) and tag != "latest" and "@" not in name + tag


def ports_stay_here(service: Compose) -> bool:
    return all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service.get("ports", []))


def says_how_it_is(service: Compose) -> bool:
    """By a check of its health; a command of ours without a port has nothing to ask, and is crash-only."""
    check = service.get("healthcheck")
    if not check:
        return service["image"] == OWN_IMAGE and "CPN_METRICS_PORT" not in service["environment"]
    return bool(check.get("test")) and {"interval", "timeout", "retries", "start_period"} <= check.keys()


RULES: dict[str, Callable[[Compose], bool]] = {
    "runs under a number that is not root's": says_its_user,
    "has a file system it cannot write": lambda service: service.get("read_only") is True,
    "has no capability": lambda service: service.get("cap_drop") == ["ALL"] and "cap_add" not in service,
    "gains no privilege": lambda service: (
        service.get("security_opt") == ["no-new-privileges:true"] and "privileged" not in service
    ),
    "has an image with a tag": image_is_pinned,
    "publishes ports on this machine only": ports_stay_here,
    "says how it is": says_how_it_is,
    "has time to stop": lambda service: "stop_grace_period" in service,
    "keeps its log small": lambda service: "max-size" in service.get("logging", {}).get("options", {}),
    "starts again or says that it does not": lambda service: "restart" in service,
    "asks no registry each time": lambda service: service.get("pull_policy") != "always",
}

# one change for each rule that breaks it
BREAKS: dict[str, Compose] = {
    "runs under a number that is not root's": {"user": "0:0"},
    "has a file system it cannot write": {"read_only": False},
    "has no capability": {"cap_add": ["NET_ADMIN"]},
    "gains no privilege": {"security_opt": []},
    "has an image with a tag": {"image": "redis:latest"},
    "publishes ports on this machine only": {"ports": ["6379:6379"]},
    "says how it is": {"healthcheck": {}, "environment": {"CPN_METRICS_PORT": "8000"}},
    "has time to stop": {"stop_grace_period": None},
    "keeps its log small": {"logging": {}},
    "starts again or says that it does not": {"restart": None},
    "asks no registry each time": {"pull_policy": "always"},
}


def broken(compose: Compose) -> list[str]:
    """The rules that are broken, as sentences."""
    return [
        f"{name} {rule}: no"
        for name, service in compose["services"].items()
        for rule, holds in RULES.items()
        if not holds(service)
    ]


def test_every_service_keeps_every_rule(compose: Compose) -> None:
    assert broken(compose) == []
    assert {"kafka", "redis", "topics", "worker-1", "worker-2", "dispatcher"} <= compose["services"].keys()


@pytest.mark.parametrize("rule", RULES)
def test_a_service_that_breaks_a_rule_is_found(compose: Compose, rule: str) -> None:
    for name in compose["services"]:
        changed = copy.deepcopy(compose)
        for key, value in BREAKS[rule].items():
            changed["services"][name][key] = value
            if value is None:
                del changed["services"][name][key]
        assert f"{name} {rule}: no" in broken(changed)


def test_every_setting_of_a_process_is_one_that_settings_know(compose: Compose) -> None:
    known = {f"CPN_{name.upper()}" for name in Settings.model_fields}
    used = {
        name: {key: str(value) for key, value in service.get("environment", {}).items() if key.startswith("CPN_")}
        for name, service in compose["services"].items()
    }
    for name, settings in used.items():
        assert settings.keys() <= known, name
        Settings(**{key.removeprefix("CPN_").lower(): value for key, value in settings.items()})
    names = [settings["CPN_INSTANCE"] for settings in used.values() if "CPN_INSTANCE" in settings]
    assert len(names) == len(set(names)) >= 3
    own = {name for name, service in compose["services"].items() if service["image"] == OWN_IMAGE}
    assert {settings["CPN_BOOTSTRAP"] for name, settings in used.items() if name in own} == {"kafka:9092"}


def parse(arguments: list[str]) -> str:
    """Parse a command line of ``cpn`` without running it; return its command.

    Raises:
        Exception: what typer raises when there is no such command or option, or when a value does not fit.
    """
    command: Any = typer.main.get_command(app)
    context = command.make_context("cpn", list(arguments))
    path = []
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
        path.append(name)
    return " ".join(path)


def test_every_command_line_is_one_that_cpn_takes(compose: Compose) -> None:
    own = {name: s["command"] for name, s in compose["services"].items() if s["image"] == OWN_IMAGE}
    parsed = {name: parse(command) for name, command in own.items()}
    assert parsed["worker-1"] == parsed["worker-2"] == "worker"
    assert {"topics create", "worker", "dispatcher", "clock", "produce", "plant"} == set(parsed.values())


@pytest.mark.parametrize("wrong", [["workers"], ["worker", "--instanz", "x"], ["topics", "make"], ["replay"]])
def test_a_command_line_that_cpn_does_not_take_is_found(wrong: list[str]) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing"):
        parse(wrong)


def test_a_service_waits_for_what_it_needs(compose: Compose) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, wait in service.get("depends_on", {}).items():
            condition = wait["condition"]
            if condition == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for {other}"
            else:
                assert condition in {"service_completed_successfully", "service_started"}, name
        if service["image"] == OWN_IMAGE and name != "topics":
            assert service["depends_on"]["topics"] == {"condition": "service_completed_successfully"}, name


def test_every_volume_and_mount_is_there(compose: Compose, repository: Path) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (repository / source).exists() or name == "replay", volume


def test_every_variable_of_the_file_stands_on_its_page(repository: Path) -> None:
    page = (repository / "ops/docs/compose.md").read_text("utf-8")
    for name, default in ASKED.findall(text_of(repository)):
        assert f"| `{name}` | `{default}` |" in page, name


def test_kafka_is_the_one_that_runs_without_docker_too(compose: Compose) -> None:
    assert compose["services"]["kafka"]["image"].rpartition(":")[2] == KAFKA.rpartition(":")[2]


def test_kafka_is_told_the_whole_of_what_keeps_records_of_any_time(compose: Compose) -> None:
    kafka = compose["services"]["kafka"]["environment"]
    assert kafka["KAFKA_LOG_RETENTION_MS"] == "-1"
    assert kafka["KAFKA_LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS"] == str(2**63 - 1)
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_what_prometheus_reads_are_services_that_tell(compose: Compose, repository: Path) -> None:
    config = (repository / "ops/prometheus/prometheus.yml").read_text("utf-8")
    (targets,) = [read(line.strip().removeprefix("- "))["targets"] for line in config.splitlines() if "targets" in line]
    tell = {
        f"{name}:{service['environment']['CPN_METRICS_PORT']}"
        for name, service in compose["services"].items()
        if "CPN_METRICS_PORT" in service.get("environment", {})
    }
    assert set(targets) == tell


# -------------------------------------------------------------------------------------------------------- the image


def test_the_image_ends_as_the_user_of_the_services_without_what_built_it(compose: Compose, repository: Path) -> None:
    text = (repository / "ops/docker/Dockerfile").read_text("utf-8")
    final = text.rpartition("\nFROM ")[2]
    users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert users == [s["user"] for s in compose["services"].values() if s["image"] == OWN_IMAGE][:1]
    assert not re.search(r"\b(pip|apt-get|gcc)\b", final)
    assert re.findall(r"^COPY (.*)$", final, re.MULTILINE) == ["--from=build /opt/cpn /opt/cpn"]
    assert "://" not in text
    assert "index" not in re.sub(r"#.*|--no-index", "", text)


def test_all_that_the_image_is_made_from_is_let_through_and_is_there(repository: Path) -> None:
    text = (repository / "ops/docker/Dockerfile").read_text("utf-8")
    let = {
        line[1:].rstrip("/")
        for line in (repository / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    assert {name for line in lines for name in line.split()} == let
    assert all((repository / name).exists() for name in let)


def test_the_extras_that_are_installed_are_those_of_the_project(compose: Compose, repository: Path) -> None:
    extras = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    arguments = compose["services"]["topics"]["build"]["args"]
    asked = re.search(r"^ARG EXTRAS=(\S+)$", (repository / "ops/docker/Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert asked is not None
    assert asked[1] == arguments["EXTRAS"]
    assert set(asked[1].split(",")) <= extras.keys()


# ------------------------------------------------------------------------------------------------------- the reader


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2\n",
        "a: *b\n",
        "a: [1, 2\n",
        "a: b: c\n",
        "a:\n  b: 1\n   c: 2\n",
        "a:\n\tb: 1\n",
        'a: "b\n',
        "a: |\n  b\n",
        "a: {b}\n",
        "a:\n  - b\n  c: 1\n",
    ],
)
def test_the_reader_refuses_what_it_does_not_know(text: str) -> None:
    with pytest.raises(ValueError, match="line "):
        read(text)


def test_the_reader_takes_what_is_said_itself_before_what_is_merged() -> None:
    text = (
        "x: &x {a: 1, b: 2}\ny: &y\n  b: 3\n  c: '#4' # four\nz:\n  <<: [*y, *x]\n  a: \"5\"\n  d: >-\n    e\n    f\n"
    )
    assert read(text)["z"] == {"a": "5", "b": 3, "c": "#4", "d": "e f"}
