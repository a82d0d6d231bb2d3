"""middlewatch.toml: what it says, what overrides it, and errors that name the line and the way out."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewatch import config
from middlewatch.errors import ConfigError, NotFound

FULL = """\
[models.delay]
source = "flights.parquet"     # TABLE, "train.py:load", or "mlflow:models:/delay@champion"
target = "late"
task = "binary"                # binary, multiclass, regression
time = "time_hour"
key = "flight_id"

train = "train.py"             # load, features, train, score: every one optional
files = ["airports.csv"]
threshold = 0.4
gate = { metric = "auc", drop_at_most = 0.01, latency_us = 500 }
retrain = { schedule = "0 4 * * 1", promote = "auto" }

[models.fare]
source = "s3://bucket/fares/*.parquet"
target = "euros"

[monitor]
alarms_per_month = 4
zone = "Europe/Vienna"
window = "week"
grace = "90min"

[alerts]
to = ["env:MIDDLEWATCH_SLACK", "mailto:ops@example.com"]

[serve]
durability = "power"
keys = "env:MY_KEYS"

[store]
url = "s3://bucket/prefix"
keep_log_days = 30
keep_data = 5
"""

SMALL = '[models.delay]\nsource = "f.csv"\ntarget = "late"\n'


def read(
    folder: Path, text: str, *, env: dict[str, str] | None = None, flags: dict[str, Any] | None = None
) -> config.Config:
    (folder / config.FILE).write_text(text, encoding="utf-8")
    return config.load(folder, env=env or {}, flags=flags)


# -- what it says


def test_every_setting_is_read(tmp_path: Path) -> None:
    got = read(tmp_path, FULL)
    assert list(got.models) == ["delay", "fare"]
    assert got.models["delay"] == config.ModelConfig(
        name="delay",
        source="flights.parquet",
        target="late",
        task="binary",
        time="time_hour",
        key="flight_id",
        train="train.py",
        files=("airports.csv",),
        threshold=0.4,
        gate=config.Gate(metric="auc", drop_at_most=0.01, latency_us=500),
        retrain=config.Retrain(schedule="0 4 * * 1", promote="auto"),
    )
    assert got.monitor == config.Monitor(
        alarms_per_month=4, zone="Europe/Vienna", window="week", grace=timedelta(minutes=90)
    )
    assert got.alerts.to == ("env:MIDDLEWATCH_SLACK", "mailto:ops@example.com")
    assert (got.serve.durability, got.serve.keys) == ("power", "env:MY_KEYS")
    assert got.store == config.StoreConfig(url="s3://bucket/prefix", keep_log_days=30, keep_data=5)
    assert got.path == tmp_path / "middlewatch.toml"


def test_what_is_left_out_is_the_default(tmp_path: Path) -> None:
    got = read(tmp_path, SMALL)
    assert got.models["delay"] == config.ModelConfig(name="delay", source="f.csv", target="late")
    assert got.monitor == config.Monitor()
    assert got.monitor.grace == timedelta(hours=1)
    assert got.store.url == ".middlewatch"
    assert read(tmp_path, "").models == {}


def test_a_model_served_elsewhere_has_neither_source_nor_target(tmp_path: Path) -> None:
    assert read(tmp_path, "[models.theirs]\n").models["theirs"].source is None


def test_a_file_as_other_systems_save_it(tmp_path: Path) -> None:
    (tmp_path / config.FILE).write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert config.load(tmp_path, env={}).models["delay"].target == "late"


# -- what overrides it


def test_flag_before_environment_before_file_before_default(tmp_path: Path) -> None:
    text = SMALL + '[serve]\nport = 1\n[store]\nurl = "one"\n'
    env = {"MIDDLEWATCH_STORE_URL": "two", "MIDDLEWATCH_SERVE_PORT": "2", "HOME": "/root"}
    got = read(tmp_path, text, env=env, flags={"serve.port": 3})
    assert (got.serve.port, got.store.url, got.monitor.zone) == (3, "two", "UTC")
    wanted = {
        "serve.port": "flag --port",
        "store.url": "env MIDDLEWATCH_STORE_URL",
        "models.delay.target": "middlewatch.toml:3",
        "models.delay.gate.latency_us": "default",
        "monitor.zone": "default",
    }
    assert {name: got.origins[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("variable", "text", "section", "name", "value"),
    [
        ("MIDDLEWATCH_MONITOR_ZONE", "Asia/Tokyo", "monitor", "zone", "Asia/Tokyo"),
        ("MIDDLEWATCH_MONITOR_ALARMS_PER_MONTH", "0.5", "monitor", "alarms_per_month", 0.5),
        ("MIDDLEWATCH_MONITOR_GRACE", "2h 30min", "monitor", "grace", timedelta(hours=2.5)),
        ("MIDDLEWATCH_STORE_KEEP_LOG_DAYS", "7", "store", "keep_log_days", 7),
        ("MIDDLEWATCH_ALERTS_TO", "env:A, env:B", "alerts", "to", ("env:A", "env:B")),
        ("MIDDLEWATCH_ALERTS_TO", "", "alerts", "to", ()),
    ],
)
def test_values_from_the_environment(
    tmp_path: Path, variable: str, text: str, section: str, name: str, value: Any
) -> None:
    got = read(tmp_path, SMALL, env={variable: text})
    assert getattr(getattr(got, section), name) == value


def test_a_misspelt_variable_is_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MIDDLEWATCH_MONITOR_ZON") as caught:
        read(tmp_path, SMALL, env={"MIDDLEWATCH_MONITOR_ZON": "UTC"})
    assert caught.value.fix == 'did you mean "MIDDLEWATCH_MONITOR_ZONE"?'


def test_variables_that_hold_secrets_are_no_overrides(tmp_path: Path) -> None:
    text = SMALL + '[alerts]\nto = ["env:MIDDLEWATCH_ALERTS_SLACK"]\n'
    env = {"MIDDLEWATCH_ALERTS_SLACK": "https://hook/secret", "MIDDLEWATCH_KEYS": "k", "MIDDLEWATCH_OTHER": "x"}
    assert read(tmp_path, text, env=env).alerts.to == ("env:MIDDLEWATCH_ALERTS_SLACK",)


def test_a_wrong_override_is_said_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whole number") as caught:
        read(tmp_path, SMALL, env={"MIDDLEWATCH_SERVE_PORT": "http"})
    assert caught.value.where == "env MIDDLEWATCH_SERVE_PORT"
    with pytest.raises(ConfigError, match="whole number") as caught:
        read(tmp_path, SMALL, flags={"serve.port": 99_999})
    assert caught.value.where == "flag --port"
    with pytest.raises(ConfigError, match=r'no setting "serve\.prot"'):
        read(tmp_path, SMALL, flags={"serve.prot": 1})


def test_secrets_stand_for_variables() -> None:
    env = {"SLACK": "https://hook", "EMPTY": ""}
    assert config.secret("env:SLACK", env=env) == "https://hook"
    assert config.secret("env:EMPTY", env=env) is config.secret("env:NONE", env=env) is None
    assert config.secret("mailto:a@b.c", env=env) == "mailto:a@b.c"


# -- what it cannot say


@pytest.mark.parametrize(
    ("text", "line", "what", "fix"),
    [
        ("[monitor\n", 1, "not valid TOML", "text needs quotes"),
        ("[monitor]\nzone = UTC\n", 2, "not valid TOML", "text needs quotes"),
        ("\n[montior]\n", 2, 'no section "montior"', 'did you mean "monitor"'),
        ("[model.delay]\n", 1, 'no section "model"', 'did you mean "models"'),
        ('[monitor]\n\nzon = "UTC"\n', 3, 'no setting "zon"', 'did you mean "zone"'),
        ("[monitor]\nspeed = 1\n", 2, 'no setting "speed"', "there are: alarms_per_month"),
        ('[monitor]\nzone = "Wien"\n', 2, 'name of a time zone, and is "Wien"', "Europe/Vienna"),
        ('[monitor]\nwindow = "month"\n', 2, '"day", "week", and is "month"', 'window = "day"'),
        ('[monitor]\ngrace = "soon"\n', 2, 'length of time, and is "soon"', '"5min"'),
        ("[monitor]\ngrace = 60\n", 2, "and is 60", 'grace = "1h"'),
        ('[monitor]\nalarms_per_month = "2"\n', 2, "a number of at least 0.01", "without quotes"),
        ("[monitor]\nalarms_per_month = 0\n", 2, "at least 0.01, and is 0", "for example"),
        ("[monitor]\nalarms_per_month = nan\n", 2, "and is nan", "for example"),
        ("[store]\nkeep_data = 1.5\n", 2, "a whole number", "for example keep_data = 12"),
        ("[store]\nkeep_data = true\n", 2, "and is true", "for example"),
        ('[store]\nurl = " "\n', 2, "text in quotes", 'url = ".middlewatch"'),
        ("[serve]\nport = 70000\n", 2, "from 0 to 65535, and is 70000", "for example"),
        ("store = 3\n", 1, r"\[store\] must be a table, and is 3", r"write \[store\]"),
        ("models = []\n", 1, r"\[models\] must be a table", r"write \[models\]"),
        ("[models]\ndelay = 1\n", 2, r"\[models.delay\] must be a table", r"write \[models.delay\]"),
        (SMALL + "threshold = 50\n", 4, "from 0 to 1, and is 50", "threshold = 0.5"),
        (SMALL + 'task = "bin"\n', 4, r"\[models.delay\] task must be one of", 'did you mean "binary"'),
        (SMALL + 'files = "a.csv"\n', 4, "a list of texts", "for example"),
        (SMALL + 'gate = { metrc = "auc" }\n', 4, r"\[models.delay.gate\] has no setting", 'did you mean "metric"'),
        (SMALL + "\n[models.delay.gate]\nlatency_us = 0\n", 6, "at least 1, and is 0", "for example"),
        (SMALL + 'retrain.schedule = "daily"\n', 4, "five fields", "every Monday"),
        (SMALL + 'x = """\n[monitor]\nzone = 1\n"""\n\n[monitor]\nzone = 1\n', 4, 'no setting "x"', "there are"),
        ('[models.delay]\nsource = "f.csv"\n', 1, "a source and no target", 'target = "late"'),
        ('[models."../x"]\n', 1, "cannot be the name of a model", "use letters"),
        ("[models._notes]\n", 1, "cannot be the name of a model", "use letters"),
    ],
)
def test_errors_name_the_line_and_the_way_out(tmp_path: Path, text: str, line: int, what: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert re.search(what, caught.value.what), caught.value.what
    assert caught.value.where == f"{tmp_path / config.FILE}:{line}"
    assert re.search(fix, caught.value.fix), caught.value.fix


def test_lines_behind_texts_over_several_lines(tmp_path: Path) -> None:
    text = '[models.delay]\ntarget = """\n[monitor]\nzone = 1\n"""\n\n[monitor]\nzone = 1\n'
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.where.endswith(":8")


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("alerts", 'to = ["https://hooks.slack.com/services/T0AB/B1CD/topsecret"]'),
        ("alerts", 'to = ["env:FINE", "https://discord.com/api/webhooks/123/topsecret"]'),
        ("alerts", 'to = ["https://user:topsecret@example.com/hook"]'),
        ("alerts", 'to = ["https://example.com/hook?token=topsecret"]'),
        ("alerts", 'to = ["https://example.com/4f9atopsecret"]'),
        ("alerts", 'to = ["slack://topsecret/"]'),
        ("alerts", 'to = ["mailto://me:topsecret@example.com"]'),
        ("alerts", 'to = ["topsecret"]'),
        ("alerts", 'to = "https://hooks.slack.com/topsecret"'),
        ("serve", 'keys = "topsecret"'),
        ("serve", 'keys = ["topsecret"]'),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, section: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"{SMALL}[{section}]\n{line}\n")
    assert "topsecret" not in str(caught.value)
    assert caught.value.where.endswith(":5")
    assert "env:" in caught.value.fix


@pytest.mark.parametrize(
    "address", ["mailto:ops@example.com", "http://localhost:9000/hook", "syslog://", "https://example.com"]
)
def test_addresses_without_a_secret_may_stand_in_the_file(tmp_path: Path, address: str) -> None:
    assert read(tmp_path, f'[alerts]\nto = ["{address}"]\n').alerts.to == (address,)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no middlewatch\.toml") as missing:
        config.load(tmp_path)
    assert "init" in missing.value.fix
    (tmp_path / config.FILE).write_bytes("[monitor]\n# Käse".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.load(tmp_path)


def test_the_nearest_project_upward(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    (tmp_path / "a" / config.FILE).write_text("")
    assert config.find_project(inner) == (tmp_path / "a").resolve()
    assert config.find_project(tmp_path / "a") == (tmp_path / "a").resolve()
    with pytest.raises(NotFound, match="here or in any folder above") as caught:
        config.find_project(tmp_path)
    assert "--project" in caught.value.fix


# -- what it is written as


def new(**changes: Any) -> str:
    return config.template(**{"name": "delay", "source": "f.csv", "target": "late", "task": "binary", **changes})


def test_a_new_file_says_what_was_given_and_nothing_else(tmp_path: Path) -> None:
    got = read(tmp_path, new(time="t", key="id", zone="Europe/Vienna"))
    assert got.models == {
        "delay": config.ModelConfig(name="delay", source="f.csv", target="late", task="binary", time="t", key="id")
    }
    assert got.monitor == config.Monitor(zone="Europe/Vienna")
    assert (got.alerts, got.serve, got.store) == (config.Alerts(), config.Serve(), config.StoreConfig())


def test_the_comments_of_a_new_file_are_settings_with_their_defaults(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^# (?=\w+ = )", "", new())
    assert "\n# " not in text
    got = read(tmp_path, text)
    assert (got.monitor, got.alerts, got.serve, got.store) == (
        config.Monitor(),
        config.Alerts(),
        config.Serve(),
        config.StoreConfig(),
    )
    assert set(got.origins.values()).isdisjoint({"default"})


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_text_comes_back_from_the_file(value: str) -> None:
    raw = tomllib.loads(new(source=value, target=value))["models"]["delay"]
    assert (raw["source"], raw["target"]) == (value, value)


def test_adding_a_model_leaves_everything_else_as_it_was(tmp_path: Path) -> None:
    before = FULL.replace("[monitor]", "# how it is watched\n[monitor]  # by day")
    after = config.add_model(before, "tips", source="t.csv", target="tip", task="regression", time="at")
    kept = [line for line in before.splitlines() if line.strip()]
    rest = iter(after.splitlines())
    assert all(line in rest for line in kept), "every line of before is there, in the same order"
    assert after.index("[models.fare]") < after.index("[models.tips]") < after.index("# how it is watched")
    was, now = read(tmp_path, before), read(tmp_path, after)
    added = config.ModelConfig(name="tips", source="t.csv", target="tip", task="regression", time="at")
    assert now.models == {**was.models, "tips": added}
    assert (now.monitor, now.alerts, now.serve, now.store) == (was.monitor, was.alerts, was.serve, was.store)


@pytest.mark.parametrize(
    "text", ["", "[monitor]\n", SMALL, SMALL.rstrip("\n"), SMALL + "\n[models.delay.gate]\nlatency_us = 5\n"]
)
def test_adding_a_model_to_any_file(tmp_path: Path, text: str) -> None:
    was = read(tmp_path, text)
    now = read(tmp_path, config.add_model(text, "tips", source="t.csv", target="tip", task=None))
    assert list(now.models) == [*was.models, "tips"]
    assert {name: now.models[name] for name in was.models} == was.models


def test_a_model_that_cannot_be_added() -> None:
    with pytest.raises(ConfigError, match="already"):
        config.add_model(SMALL, "delay", source="t.csv", target="tip", task=None)
    with pytest.raises(ConfigError, match="name of a model"):
        config.add_model(SMALL, "a b", source="t.csv", target="tip", task=None)
    with pytest.raises(ConfigError, match="cannot be added to") as caught:
        config.add_model("models = { a = { } }\n", "tips", source="t.csv", target="tip", task=None)
    assert "[models.tips]" in caught.value.fix


def test_the_reference_has_every_setting_with_help() -> None:
    page = config.reference()
    for kind in (
        config.ModelConfig,
        config.Gate,
        config.Retrain,
        config.Monitor,
        config.Alerts,
        config.Serve,
        config.StoreConfig,
    ):
        for one in fields(kind):
            if "setting" in one.metadata:
                known = one.metadata["setting"]
                assert re.search(rf"(?m)^\| `{one.name}` \| .+ \| .* \| {re.escape(known.help)} \|$", page), one.name
    assert "`[models.NAME.gate]`" in page
    assert "`MIDDLEWATCH_STORE_URL` and so on" in page
    assert all(line.count("|") == 5 for line in page.splitlines() if line.startswith("|"))
