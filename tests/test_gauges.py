"""What the monitor knows, for Prometheus: what `status` says, once a server; dashboard and rules name no other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with apprise
from prometheus_client.parser import text_string_to_metric_families

import middlewatch
import web_store
from middlewatch import library
from middlewatch.gauges import gauges
from middlewatch.project import Project
from middlewatch.serve import facts
from middlewatch.serve.metrics import FACTS, Metrics
from serving import serving, wait_until

CONTRIB = Path(middlewatch.__file__).parent / "contrib"
RULES = CONTRIB / "prometheus-alerts.yml"
DASHBOARD = CONTRIB / "grafana-dashboard.json"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return web_store.build(tmp_path_factory.mktemp("gauges")).root


def by_name(project: Project) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for name, labels, value in gauges(project, now=web_store.NOW):
        found.setdefault(name, []).append((labels, value))
    return found


def test_the_gauges_say_what_status_says(root: Path) -> None:
    project = Project.open(root)
    found = by_name(project)
    assert set(found) <= set(FACTS)
    seen = library.Handle(project).status(now=web_store.NOW)
    assert [labels["state"] for labels, value in found["middlewatch_model_state"] if value] == [seen.state]
    count = {labels["severity"]: value for labels, value in found["middlewatch_incidents_open"]}
    assert sum(count.values()) == len(seen.incidents) > 0
    last = next(one for one in reversed(seen.days) if one["source"] == "log" and one.get("judged"))
    ((_, rows),) = found["middlewatch_window_rows"]
    assert rows == last["judged"]["rows"]
    ((_, score),) = found["middlewatch_window_alarm_score"]
    ((_, line),) = found["middlewatch_window_alarm_line"]
    assert (score, line) == (last["judged"]["m"], last["judged"]["m_line"])
    ((_, mean),) = found["middlewatch_window_score_mean"]
    assert mean == seen.score["mean"]


def test_a_model_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = web_store.build(tmp_path).root
    settings = root / "middlewatch.toml"
    settings.write_text(settings.read_text() + "\n[models.other]\n")
    found = by_name(Project.open(root))
    assert {labels["model"] for labels, _ in found["middlewatch_window_rows"]} != {"other"}
    assert "other" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_shows_them_once(root: Path, workers: int) -> None:
    with serving(root, workers=workers) as (_, client):

        def text() -> str:
            return str(client.ask("GET", "/metrics")[1]["text"])

        wait_until(lambda: "\nmiddlewatch_window_rows{" in text(), seconds=60)
        shown = text()
        families = {one.name: one.samples for one in text_string_to_metric_families(shown)}
        assert len(families["middlewatch_window_rows"]) == 1
        assert sum(one.value for one in families["middlewatch_model_state"]) == 1
        assert shown.count("\nmiddlewatch_facts_timestamp_seconds ") == 1


def test_values_that_are_gone_are_forgotten_and_the_others_never_missed() -> None:
    metrics = Metrics()
    metrics.add("middlewatch_labels_total", model="a")
    metrics.replace(
        FACTS, [("middlewatch_window_rows", {"model": "a"}, 5), ("middlewatch_window_rows", {"model": "b"}, 6)]
    )
    metrics.replace(FACTS, [("middlewatch_window_rows", {"model": "b"}, 7)])
    text = metrics.text()
    assert 'middlewatch_window_rows{model="b"} 7' in text
    assert 'middlewatch_window_rows{model="a"}' not in text
    assert 'middlewatch_labels_total{model="a"} 1' in text


# --------------------------------------------------------------------------- what is shipped


def exposed() -> set[str]:
    """Every name that /metrics may show."""
    families = re.findall(r"^# TYPE (\S+) (\S+)$", Metrics().text(), flags=re.MULTILINE)
    names = {name for name, kind in families if kind != "histogram"}
    return names | {
        f"{name}{end}" for name, kind in families if kind == "histogram" for end in ("_bucket", "_sum", "_count")
    }


def named(expression: str) -> set[str]:
    return set(re.findall(r"\bmiddlewatch_[a-z_]+", expression))


def test_the_dashboard_names_what_is_there() -> None:
    board = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    used = set().union(*(named(one) for one in expressions))
    assert used
    assert used <= exposed()
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(x + w <= 24 for x, _, w, _ in places)
    assert len({panel["id"] for panel in board["panels"]}) == len(places)


def test_the_rules_name_what_is_there() -> None:
    rules: list[dict[str, Any]] = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    assert len({one["alert"] for one in rules}) == len(rules)
    for rule in rules:
        assert named(rule["expr"]), rule["alert"]
        assert named(rule["expr"]) <= exposed(), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_promtool_takes_the_rules() -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is part of the prometheus package; the rules are parsed above")
    done = subprocess.run([tool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_look_at_what_changed_lists_the_newest_incidents_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.open(shutil.copytree(root, tmp_path / "project"), search=False)
    [name] = list(project.config.models)[:1]
    incidents = project.incidents(name)
    for at in range(facts.NEWEST + 10):
        incidents.open(key=f"k{at}", at=web_store.NOW, actor="ann", facts={"title": "t", "severity": "ticket"})
    looks = facts.Facts(project, Metrics())
    looks._anyway = float("inf")
    assert looks._due()
    looks._due()  # from here on the newest alone
    listed = project.store.list
    seen: set[str] = set()

    def spied(prefix: str, *, after: str | None = None) -> list[str]:
        found = list(listed(prefix, after=after))
        seen.update(one for one in found if "/incidents/" in one)
        return found

    monkeypatch.setattr(project.store, "list", spied)
    assert not looks._due()
    assert len({one.split("/")[2] for one in seen if one.startswith(f"{name}/")}) == facts.NEWEST
    newest = incidents.all()[-1].n
    incidents.add(newest, "ack", at=web_store.NOW, actor="ann")
    assert looks._due()
    assert not looks._due()
