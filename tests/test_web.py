"""The pages say what is stored, to people and as JSON; they are small, safe, and change nothing unless asked to."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import polars as pl
import pytest

import web_store
from middlewatch import library, model
from middlewatch.profiles import profile, spec_of
from middlewatch.project import Project
from middlewatch.web import pages
from middlewatch.web import words as say
from middlewatch.web.incident import _after
from middlewatch.web.rendering import static
from web_store import FIRST, HOSTILE, LIVE, NOW, TRAINING, build

HOST = "127.0.0.1:8000"
OURS = {"host": HOST, "sec-fetch-site": "same-origin", "origin": f"http://{HOST}"}
PAGES = (
    "/",
    "/i/1",
    "/versions",
    "/features",
    "/requests",
    "/i/1/acknowledge",
    "/i/1/silence",
    "/i/1/resolve",
    "/nope",
)


class Answer:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(one.get("body", b"") for one in messages[1:])

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def words(self) -> str:
        """What is read, on one line."""
        return re.sub(r"\s+", " ", Reader.of(self.text).words)


class Reader(HTMLParser):
    """Tags, attributes and words as a browser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    @staticmethod
    def of(text: str) -> Reader:
        reader = Reader()
        reader.feed(text)
        return reader

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.words += " " if tag in ("dt", "dd", "li", "p", "th", "td", "h2", "h3") else ""

    def handle_data(self, data: str) -> None:
        self.words += data


class Site:
    """The pages of a project, asked without a network."""

    def __init__(self, project: Project, now: datetime = NOW) -> None:
        self.project = project
        self.app = pages(project, clock=lambda: now, secret=b"of the test")

    def ask(
        self,
        address: str,
        *,
        method: str = "GET",
        form: dict[str, str] | bytes | None = None,
        headers: dict[str, str] | None = None,
        client: str = "127.0.0.1",
        scopes: frozenset[str] | None = None,
    ) -> Answer:
        path, _, query = address.partition("?")
        body = form if isinstance(form, bytes) else urlencode(form or {}).encode()
        given = {"host": HOST, "content-type": "application/x-www-form-urlencoded", **(headers or {})}
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": (client, 1234),
        }
        if scopes is not None:
            scope["middlewatch.scopes"] = scopes
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        async def ask() -> None:
            await self.app(scope, receive, send)

        asyncio.run(ask())
        return Answer(sent)

    def token(self, path: str) -> str:
        (found,) = [
            attributes["value"]
            for tag, attributes in Reader.of(self.ask(path).text).tags
            if tag == "input" and attributes.get("name") == "token"
        ]
        return found or ""

    def press(self, path: str, **form: str) -> Answer:
        return self.ask(path, method="POST", form={"token": self.token(path), **form}, headers=OURS)

    def stored(self) -> list[str]:
        return self.project.store.list("")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Read only: a model that fails since two days, with a stored diagnosis."""
    return Site(build(tmp_path_factory.mktemp("fault"), why=True))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(build(tmp_path_factory.mktemp("hostile"), hostile=True, why=True))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(build(tmp_path_factory.mktemp("two"), models=("delay", "cancel")))


@pytest.fixture
def fresh(tmp_path: Path) -> Site:
    """To act on: three days of traffic only, so that it is made quickly."""
    return Site(build(tmp_path, live=16))


# ------------------------------------------------------------------ home


def test_home_says_in_one_sentence_what_is_wrong_since_when_and_likely_why(site: Site) -> None:
    words = site.ask("/").words
    assert "Failing : temp and the prediction left their usual range" in words.replace("Failing:", "Failing :")
    assert "Since 9 Jun 2013, for 2 days. Mean prediction 0.364 → 0.617." in words
    assert "Likely cause temp is in °C, was °F, in 100 % of rows certain Rolling back would not help" in words
    assert "delay v2 live since 14 May 2013, 09:00 UTC" in words


def test_what_was_rolled_back_since_an_incident_opened_is_said_until_its_rows_tell(tmp_path: Path) -> None:
    project = build(tmp_path, why=True)
    site, journal = Site(project), project.journal("delay")
    assert "rolled back" not in site.ask("/").words
    advice = {"/": "Rolling back would not help", "/i/1": "Rollback would not help"}
    assert all(said in site.ask(path).words for path, said in advice.items())
    at = NOW - timedelta(minutes=10)
    journal.append(action="rollback", version="v1", actor="ann", host="ci", at=at, expect=len(journal.entries()))
    for path, said in advice.items():
        assert said not in site.ask(path).words
        assert (
            "v2 was rolled back to v1 since; the next window will tell, 11 Jun 2013, 02:04 UTC." in site.ask(path).words
        )
    sentence = site.ask("/home.json").json()["sentence"]
    assert sentence.startswith("Failing: incident 1")
    assert sentence.endswith("; v2 was rolled back to v1 since; the next window will tell")
    kept = site.ask("/home.json").json()["incidents"][0]["released_since"]
    assert kept == {"action": "rollback", "version": "v1", "previous": "v2", "at": kept["at"], "told": False}
    project.incidents("delay").add(1, "update", at=NOW, actor="monitor", rows=180)
    assert site.ask("/home.json").json()["sentence"].endswith("v2 was rolled back to v1 since")
    project.incidents("delay").add(1, "resolve", at=NOW, actor="ann", cause="a release")
    healthy = site.ask("/home.json").json()["sentence"]
    assert "no alarm" not in healthy, "the last window had one"
    assert "had incident 1, resolved since" in healthy


def test_home_has_four_numbers_and_an_incident_does_not_make_itself_usual(site: Site) -> None:
    found = {one["name"]: one for one in site.ask("/home.json").json()["numbers"]}
    assert list(found) == ["Requests", "Refused", "Score", "Quality"]
    assert found["Requests"]["word"] == "as usual"
    score = found["Score"]
    assert score["word"] == "above usual"
    # The incident's own first day, as high as today, is not part of what is usual.
    assert score["series"][-2] > score["usual"][1]


def test_the_plot_shows_releases_the_incident_and_lighter_history(site: Site) -> None:
    text = site.ask("/").text
    assert text.count('class="middle past"') >= 2  # the curve and its legend
    assert ">v1</text>" in text
    assert ">v2</text>" in text
    assert ">incident 1</text>" in text
    plot = site.ask("/home.json").json()["plot"]
    assert len(plot["days"]) == 90
    assert [one["version"] for one in plot["releases"]] == ["v1", "v2"]
    assert [one["n"] for one in plot["incidents"]] == [1]
    assert len(site.ask("/home.json?days=30").json()["plot"]["days"]) == 30
    assert len(site.ask("/home.json?days=junk").json()["plot"]["days"]) == 90


def test_in_replayed_history_releases_stand_where_they_began_to_answer(tmp_path: Path) -> None:
    """The journal's clock is today's, the rows are of years ago."""
    project = build(tmp_path, fault=False, live=0)
    frame = web_store.rows(FIRST, np.random.default_rng(0))
    day = profile(frame, spec_of(project.schema("delay"), roles=["feature"], score=True))
    for at in range(6):
        project.windows("delay").put(
            date(2014, 1, 1) + timedelta(days=at),
            hours={0: day},
            source="log",
            now=NOW,
            versions={"v1": 9, "v2": 1} if at < 4 else {"v2": 10},
        )
    today = datetime(2026, 1, 1, tzinfo=UTC)
    project.journal("delay").append(action="promote", version="v2", actor="a", host="h", at=today, expect=0)
    plot = Site(project, today).ask("/home.json?days=30").json()["plot"]
    assert [(one["at"], one["version"]) for one in plot["releases"]] == [("2014-01-01", "v1"), ("2014-01-05", "v2")]


def test_what_moved_is_the_last_judgement(site: Site) -> None:
    moved = site.ask("/home.json").json()["moved"]
    assert moved["window"] == "2013-06-10"
    assert moved["alarm"] is True
    assert {one["column"] for one in moved["top"]} == {"mw.score", "temp"}
    assert all(one["score"] > 0 for one in moved["top"])
    assert "the prediction distribution" in site.ask("/").words


def test_a_calm_model_is_healthy_and_one_without_traffic_has_no_data(tmp_path: Path) -> None:
    calm = Site(build(tmp_path / "calm", fault=False)).ask("/")
    assert "Healthy" in calm.words
    assert "None is open." in calm.words
    new = Site(build(tmp_path / "new", fault=False, live=0))
    assert "No data" in new.ask("/").words
    for path in ("/versions", "/features", "/requests"):
        assert new.ask(path).status == 200


def test_a_project_without_a_model_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "middlewatch.toml").write_text("")
    answer = Site(Project.open(tmp_path, search=False)).ask("/")
    assert answer.status == 200
    assert "middlewatch init" in answer.words


def test_a_year_of_days_fits_in_60_kb(tmp_path: Path) -> None:
    project = build(tmp_path, fault=False, live=0)
    frame = web_store.rows(FIRST, np.random.default_rng(0))
    day = profile(frame, spec_of(project.schema("delay"), roles=["feature"], score=True))
    for at in range(365):
        project.windows("delay").put(
            date(2014, 1, 1) + timedelta(days=at),
            hours={0: day},
            source="log",
            now=NOW,
            versions={"v1": 60},
            durable=False,
        )
    year = Site(project, datetime(2015, 1, 2, tzinfo=UTC))
    sizes = {span: len(year.ask(f"/?days={span}").body) for span in (30, 90, 365)}
    assert len(year.ask("/home.json?days=365").json()["plot"]["days"]) == 365
    assert max(sizes.values()) < 60_000, sizes


def test_home_and_incident_import_neither_numpy_nor_polars(site: Site) -> None:
    """They are made inside a serving process, from stored JSON."""
    code = (
        "import sys, asyncio; from middlewatch.project import Project; from middlewatch.web.app import Site\n"
        "from middlewatch.web.http import Request; from datetime import datetime, UTC\n"
        f"site = Site(Project.open({str(site.project.root)!r}, search=False), lambda: datetime.now(UTC), b'x')\n"
        "for path in ('/', '/home.json', '/i/1', '/i/1.json', '/i/1/acknowledge', '/versions'):\n"
        "    assert site.answer(Request(method='GET', path=path, client='127.0.0.1')).status == 200, path\n"
        "    loaded = {'numpy', 'polars', 'lightgbm'} & set(sys.modules)\n"
        "    assert not loaded, (path, loaded)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------ several models


def test_several_models_have_a_row_each(two: Site) -> None:
    assert [(one["model"], one["state"]) for one in two.ask("/home.json").json()["models"]] == [
        ("delay", "failing"),
        ("cancel", "healthy"),
    ]
    words = two.ask("/").words
    assert "2 models, 1 to look at" in words
    assert "Failing" in two.ask("/?model=delay").words
    assert "Healthy" in two.ask("/?model=cancel").words


def test_links_carry_the_model_along(two: Site) -> None:
    for path in ("/?model=delay", "/i/1", "/i/1?model=delay"):
        links = [one["href"] or "" for tag, one in Reader.of(two.ask(path).text).tags if tag == "a" and "href" in one]
        inside = [one for one in links if one.startswith("/")]
        assert inside, path
        assert all("model=delay" in one for one in inside), inside


def test_an_unknown_model_is_a_page_that_names_the_nearest(two: Site) -> None:
    answer = two.ask("/?model=delaj")
    assert answer.status == 404
    assert 'did you mean "delay"?' in answer.words
    assert two.ask("/versions.json").status == 400
    assert two.ask("/versions").headers["location"] == "/"
    assert two.ask("/home.json?model=x").json()["code"] == 2


# ------------------------------------------------------------------ incident


def test_the_incident_gives_the_answer_first(site: Site) -> None:
    words = site.ask("/i/1").words
    for said in (
        "temp is in °C, was °F, in 100 % of rows certain",
        "undoing it takes back 91 % of the shift; 31 decisions changed in 120 rows; their mean score 0.437, undone",
        "the inverse maps 100 % of the values back to known ones",
        "Rollback would not help: v1 reads the same temp",
        "temp 8.300, undone 46.94",
        "send temp in °F",
        "Not the model (v2 answers earlier rows the same)",
        "Opened: 1 window, 60 rows",
        "weather feed: new client 2.0",
    ):
        assert said in words.replace("Weather", "weather"), said
    assert words.index("Acknowledge") < words.index("What moved")


def test_without_a_diagnosis_it_says_what_to_type(fresh: Site) -> None:
    assert "middlewatch why 1" in fresh.ask("/i/1").words
    assert "middlewatch why 1" in fresh.ask("/").words


def test_a_diagnosis_of_any_shape_is_shown_not_stumbled_over(fresh: Site) -> None:
    kept = fresh.project.incidents("delay")
    for why in (
        {"found": False, "causes": [], "next": "nothing to do"},
        {"causes": [{"kind": "drift"}]},
        {"causes": [{"detail": "x", "effect": None, "slice": ["mw.caller", "a/1"]}], "ruled_out": None},
        {"causes": [{"detail": "y", "examples": [{"row": 1, "now": 2.5}]}], "ruled_out": [{"what": "z", "why": "q"}]},
    ):
        kept.add(1, "update", at=NOW, actor="t", why=why)
        assert fresh.ask("/i/1").status == 200, why
    assert "Not z: q" in fresh.ask("/i/1").words


def test_an_unknown_incident_is_not_found(site: Site) -> None:
    assert site.ask("/i/99").status == 404
    assert site.ask("/i/0").status == 404
    assert site.ask("/i/99.json").json()["error"] == "there is no incident 99"


def test_marked_rows_are_shown(fresh: Site) -> None:
    fresh.project.incidents("delay").add(
        1, "mark_bad", at=NOW, actor="t", since="2013-05-16T00:00:00Z", until="2013-05-18T00:00:00Z", where="temp < 30"
    )
    assert "16 May 2013 to 18 May 2013 temp < 30" in fresh.ask("/i/1").words


# ------------------------------------------------------------------ acts


def test_no_get_changes_anything(fresh: Site) -> None:
    before = fresh.stored()
    for path in (*PAGES, "/versions/roll-back", "/i/1/roll-back", "/home.json", "/features.json", "/requests.json"):
        fresh.ask(path)
        fresh.ask(path, method="HEAD")
        fresh.ask(f"{path}?token={fresh.token('/i/1/acknowledge')}", headers=OURS)
    assert fresh.stored() == before


def test_a_confirm_page_says_what_will_happen_and_how_to_undo_it(fresh: Site) -> None:
    words = fresh.ask("/i/1/roll-back").words
    for said in ("Roll back from v2 to v1?", "within a second", "To undo it middlewatch promote v2", "--to v1"):
        assert said in words, said


def test_acknowledge_silence_and_resolve(fresh: Site) -> None:
    kept = fresh.project.incidents("delay")
    answer = fresh.press("/i/1/acknowledge")
    assert (answer.status, answer.headers["location"]) == (303, "/i/1")
    assert kept.get(1).state == "acknowledged"
    fresh.press("/i/1/silence", **{"for": "4h"})
    assert (kept.get(1).state, kept.get(1).silent_until) == ("silenced", "2013-06-11T06:14:00Z")
    assert fresh.press("/i/1/silence", **{"for": "9y"}).status == 400
    fresh.press("/i/1/resolve", cause="the feed sent °C", confirmed="yes")
    assert (kept.get(1).state, kept.get(1).cause, kept.get(1).confirmed) == ("resolved", "the feed sent °C", True)
    assert fresh.ask("/i/1/acknowledge").status == 400
    assert "the feed sent °C" in fresh.ask("/i/1").words


@pytest.mark.parametrize(
    ("change", "client"),
    [
        ({"sec-fetch-site": "cross-site"}, "127.0.0.1"),
        ({"sec-fetch-site": "same-site"}, "127.0.0.1"),
        ({"origin": "https://evil.example"}, "127.0.0.1"),
        ({"origin": "null"}, "127.0.0.1"),
        ({"host": "evil.example", "origin": "http://evil.example"}, "127.0.0.1"),
        ({"x-forwarded-for": "10.0.0.9"}, "127.0.0.1"),
        ({}, "10.0.0.9"),
        ({}, "::ffff:10.0.0.9"),
        ({}, ""),
    ],
)
def test_a_post_from_anywhere_else_is_refused(site: Site, change: dict[str, str], client: str) -> None:
    before, token = site.stored(), site.token("/i/1/acknowledge")
    answer = site.ask(
        "/i/1/acknowledge", method="POST", form={"token": token}, headers={**OURS, **change}, client=client
    )
    assert answer.status == 403
    assert site.stored() == before


def test_a_post_that_does_not_say_where_from_is_refused(site: Site) -> None:
    before, token = site.stored(), site.token("/i/1/acknowledge")
    assert site.ask("/i/1/acknowledge", method="POST", form={"token": token}).status == 403
    assert site.ask("/i/1/acknowledge", method="POST", form={"token": token}, client="::1").status == 403
    assert site.stored() == before


def test_a_post_without_the_token_of_its_form_is_refused(site: Site) -> None:
    before = site.stored()
    other = site.token("/i/1/silence")
    for form in ({}, {"token": ""}, {"token": "ä"}, {"token": other}, b"\xff\xfe", b"x" * 20_000):
        answer = site.ask("/i/1/acknowledge", method="POST", form=form, headers=OURS)
        assert answer.status in (400, 403), form
    token = site.token("/i/1/acknowledge")
    plain = {**OURS, "content-type": "text/plain"}
    assert site.ask("/i/1/acknowledge", method="POST", form={"token": token}, headers=plain).status == 403
    assert site.stored() == before


def test_a_form_shown_before_things_changed_does_nothing(fresh: Site) -> None:
    token = fresh.token("/i/1/acknowledge")
    fresh.press("/i/1/silence")
    answer = fresh.ask("/i/1/acknowledge", method="POST", form={"token": token}, headers=OURS)
    assert answer.status == 403
    assert fresh.project.incidents("delay").get(1).state == "silenced"


def test_an_admin_key_may_act_from_elsewhere_and_a_lesser_one_is_told_before(fresh: Site) -> None:
    token = fresh.token("/i/1/acknowledge")
    for scopes, status in ((frozenset({"read"}), 403), (frozenset({"read", "admin"}), 303)):
        answer = fresh.ask(
            "/i/1/acknowledge", method="POST", form={"token": token}, headers=OURS, client="10.0.0.9", scopes=scopes
        )
        assert answer.status == status
    shown = fresh.ask("/i/1/silence", client="10.0.0.9")
    assert "buttons work from this server's own machine only" in shown.words.replace("Buttons", "buttons")
    assert "<form" not in shown.text


def test_other_methods_and_acts_do_nothing(site: Site) -> None:
    assert site.ask("/", method="POST", headers=OURS).status == 405
    assert site.ask("/i/1", method="DELETE").status == 405
    assert site.ask("/i/1/explode").status == 404
    assert site.ask("/versions/acknowledge", method="POST", headers=OURS).status == 404


# ------------------------------------------------------------------ with trained models and a log


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One real training, published twice; v2 live; a log of 90 rows."""
    folder = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(3)
    frame = pl.concat([web_store.rows(FIRST + timedelta(days=at), random) for at in range(9)])
    frame = frame.with_columns(late=(pl.col("mw.score") > frame["mw.score"].median()).cast(pl.Int64)).drop("mw.score")
    frame[:450].write_parquet(folder / "x.parquet")
    library.init(str(folder / "x.parquet"), target="late", time="departs", name="delay", folder=folder)
    handle = library.open(folder)
    handle.train()
    handle.promote("v1", force="test")
    store = handle.project.store
    shelf = model.shelf(store, "delay")
    files = {one["name"]: shelf.file("v1", one["name"]) for one in shelf.manifest("v1")["files"]}
    own = ("schema", "version", "model", "created", "actor", "files")
    manifest = {name: value for name, value in shelf.manifest("v1").items() if name not in own}
    model.publish(store, "delay", files=files, manifest=manifest, now=NOW, actor="t")
    handle.promote("v2", force=HOSTILE)
    handle.score(frame[450:].drop("late"), log=True, time="departs", caller="nightly<b>")
    return Site(handle.project, datetime.now(UTC))


def test_versions_say_what_serves_and_what_came_before(trained: Site) -> None:
    words = trained.ask("/versions").words
    assert "v2 is live since" in words
    assert "Before it v1: that is where a rollback goes." in words
    assert "against the gate" in words
    found = trained.ask("/versions.json").json()
    assert (found["live"], found["previous"]) == ("v2", "v1")
    assert [one["version"] for one in found["models"]] == ["v1", "v2"]
    assert [one["action"] for one in found["journal"]] == ["promote", "promote"]


def test_home_has_the_last_training(trained: Site) -> None:
    found = trained.ask("/home.json").json()["training"]
    assert found["version"] == "v2"
    assert found["metric"] == "auc"
    assert found["low"] <= found["value"] <= found["high"]
    assert "v2 on d1, 360 rows" in trained.ask("/").words


def test_requests_show_the_newest_predictions_with_inputs(trained: Site) -> None:
    rows = trained.ask("/requests.json").json()["rows"]
    assert len(rows) == 50
    assert rows == sorted(rows, key=lambda one: (one["received"], one["id"]), reverse=True)
    assert set(rows[0]["inputs"]) == {"temp", "wind_speed", "sched_hour", "origin"}
    assert "raw" not in rows[0]
    answer = trained.ask("/requests")
    assert "nightly<b>" in answer.words
    assert "nightly<b>" not in answer.text


def test_filters_of_requests_are_values_not_sql(trained: Site) -> None:
    def count(**query: str) -> int:
        return len(trained.ask(f"/requests.json?{urlencode(query)}").json()["rows"])

    assert count(version="v2", caller="nightly<b>") == 50
    assert count(version="v1") == 0
    assert count(caller="' OR 1=1 --") == 0
    assert count(refused="1") == 0


def test_rolling_back_takes_the_shown_target_and_only_once(trained: Site) -> None:
    journal = trained.project.journal("delay")
    assert "0 decisions would differ" in trained.ask("/versions/roll-back").words
    token = trained.token("/versions/roll-back")
    done = trained.press("/versions/roll-back", reason=HOSTILE)
    assert (done.status, done.headers["location"]) == (303, "/versions")
    assert journal.live() == "v1"
    assert journal.state().frozen
    entry = journal.head()
    assert entry is not None
    assert entry.reason == HOSTILE
    again = trained.ask("/versions/roll-back", method="POST", form={"token": token}, headers=OURS)
    assert again.status in (400, 403)
    assert journal.head() == entry
    assert "Automatic promotion is frozen" in trained.ask("/versions").words


# ------------------------------------------------------------------ features


def test_features_rank_what_moved_and_compare_with_days_before_the_incident(site: Site) -> None:
    found = site.ask("/features.json").json()
    assert found["day"] == "2013-06-10"
    assert found["then"][1] == "2013-06-08"
    names = [one["column"] for one in found["features"]]
    assert set(names[:2]) == {"mw.score", "temp"}
    temp = next(one for one in found["features"] if one["column"] == "temp")
    assert temp["mean"]["now"] < 30 < 50 < temp["mean"]["then"]
    for one in found["features"]:
        if "edges" in one:
            for when in ("now", "then"):
                assert sum(one[when]) + one["outside"][when] == pytest.approx(1, abs=1e-3)
        if "top" in one:
            assert sum(row["now"] for row in one["top"]) + one["others"]["now"] == pytest.approx(1, abs=1e-3)
    assert len(site.ask("/features").body) < 40_000


def test_a_histogram_keeps_what_lies_at_its_end(tmp_path: Path) -> None:
    """Nine values of ten are the largest one."""
    project = build(tmp_path, fault=False, live=0)
    spec = spec_of(project.schema("delay"), roles=["feature"])
    frame = web_store.rows(FIRST, np.random.default_rng(0)).with_columns(
        wind_speed=pl.Series([10.0] * 54 + [2.5] * 6), origin=pl.Series([f"A{at % 12}" for at in range(60)])
    )
    project.windows("delay").put(date(2013, 9, 1), hours={0: profile(frame, spec)}, source="log", now=NOW)
    found = {one["column"]: one for one in Site(project).ask("/features.json").json()["features"]}
    wind = found["wind_speed"]
    assert max(wind["now"]) == 0.9
    assert wind["outside"]["now"] == 0
    assert found["origin"]["others"]["count"] == 7  # 15 known, 8 shown
    assert any(one["new"] for one in found["origin"]["top"])


def test_features_can_be_found_and_other_days_looked_at(site: Site) -> None:
    found = site.ask("/features.json?find=TEMP&day=2013-06-01").json()
    assert [one["column"] for one in found["features"]] == ["temp"]
    assert found["day"] == "2013-06-01"
    assert found["then"][1] == "2013-05-31"
    assert site.ask("/features?find=%3Cb%3E").status == 200
    assert site.ask("/features?day=2011-01-01").status == 404


def test_a_hundred_features_fit_in_300_kb(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    names = [f"feature_number_{at}" for at in range(100)]
    columns = "\n".join(f'[columns.{name}]\nkind = "number"\n' for name in names)
    (tmp_path / "middlewatch.toml").write_text('[models.m]\nsource = "x.parquet"\ntarget = "y"\n')
    (tmp_path / "m.schema.toml").write_text(
        f'[model]\nname = "m"\ntarget = "y"\n\n[columns.y]\nkind = "number"\nrole = "target"\n\n{columns}'
    )
    project = Project.open(tmp_path, search=False)
    spec = spec_of(project.schema("m"), roles=["feature"])
    for day in (FIRST, FIRST + timedelta(days=1)):
        frame = pl.DataFrame({name: random.normal(0, 1, 200) for name in names})
        project.windows("m").put(day, hours={0: profile(frame, spec)}, source="log", now=NOW)
    assert len(Site(project).ask("/features").body) < 300_000


# ------------------------------------------------------------------ every page


@pytest.fixture(scope="module")
def everything(site: Site, hostile: Site, two: Site) -> list[tuple[str, Answer]]:
    return [
        (path, one.ask(path))
        for one, paths in ((site, PAGES), (hostile, (*PAGES, "/i/1/roll-back")), (two, ("/", "/?model=delay")))
        for path in paths
    ]


def test_words_of_users_are_words_only(hostile: Site, everything: list[tuple[str, Answer]]) -> None:
    for path, answer in everything:
        reader = Reader.of(answer.text)
        assert "script" not in {tag for tag, _ in reader.tags}, path
        assert not [name for _, one in reader.tags for name in one if name.startswith("on") or name == "style"], path
    for path in ("/", "/i/1", "/versions", "/features"):
        words = hostile.ask(path).words
        assert "<script>" in words, path  # shown as it is, not left out


def test_every_answer_forbids_everything_else(everything: list[tuple[str, Answer]], site: Site) -> None:
    answers = [answer for _, answer in everything]
    answers += [site.ask(path) for path in ("/home.json", "/static/middlewatch.css", "/static/nope", "/i/77.json")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_is_asked_of_anybody_else(everything: list[tuple[str, Answer]]) -> None:
    for path, answer in everything:
        for tag, one in Reader.of(answer.text).tags:
            for name in ("href", "src", "action", "formaction", "poster", "data"):
                target = one.get(name) or ""
                assert re.match(r"(/(?!/)|#|\?|$)", target), (path, tag, target)
    assert "@import" not in static("middlewatch.css").decode()
    assert "url(" not in static("middlewatch.css").decode()


def test_pages_read_well_aloud(everything: list[tuple[str, Answer]]) -> None:
    for path, answer in everything:
        tags = Reader.of(answer.text).tags
        names = [tag for tag, _ in tags]
        assert (names.count("h1"), names.count("main")) == (1, 1), path
        assert dict(tags)["html"]["lang"] == "en"
        assert names.count("table") == names.count("caption"), path
        ids = [one["id"] for _, one in tags if "id" in one]
        assert len(ids) == len(set(ids)), path
        for tag, one in tags:
            for name in ("aria-labelledby",):
                assert all(ident in ids for ident in (one.get(name) or "").split()), (path, tag)
            if tag == "svg":
                assert one.get("role") == "img" or one.get("aria-hidden") == "true" or "width" in one, path
        levels = [int(one[1]) for one in names if re.fullmatch(r"h[1-6]", one)]
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), (path, levels)


def test_the_same_store_gives_the_same_page(site: Site) -> None:
    for path in ("/", "/i/1", "/features", "/versions"):
        assert site.ask(path).body == site.ask(path).body


def test_json_says_the_same_with_a_schema(site: Site) -> None:
    for path in ("/home.json", "/i/1.json", "/versions.json", "/features.json", "/requests.json"):
        answer = site.ask(path)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["schema"] == 1
    found = site.ask("/home.json").json()
    assert found["state"] == "failing"
    assert found["incidents"][0]["n"] == 1
    assert site.ask("/i/1.json").json()["acts"][0]["act"] == "acknowledge"


def test_static_files_are_kept_for_ever_under_their_fingerprint(site: Site) -> None:
    (sheet,) = re.findall(r'href="(/static/middlewatch\.css[^"]*)"', site.ask("/").text)
    assert "immutable" in site.ask(sheet).headers["cache-control"]
    assert site.ask("/static/middlewatch.css").headers["cache-control"] == "no-cache"
    assert site.ask("/static/../app.py").status == 404
    assert site.ask("/", method="HEAD").body == b""


def test_times_are_in_the_projects_zone(tmp_path: Path) -> None:
    build(tmp_path, live=16)
    toml = tmp_path / "middlewatch.toml"
    toml.write_text(toml.read_text() + '\n[monitor]\nzone = "Europe/Vienna"\n')
    site = Site(Project.open(tmp_path, search=False))
    assert "v2 live since 14 May 2013, 11:00 CEST" in site.ask("/").words


# ------------------------------------------------------------------ words and colours


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.43712, "0.437"),
        (0, "0"),
        (0.0, "0"),
        (1204, "1204"),
        (2001.4, "2001"),
        (12800.4, "12,800"),
        (-3.5, "−3.50"),
        (2.5e-7, "2.50e−07"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_numbers_read_as_people_write_them(value: Any, words: str) -> None:
    assert say.number(value) == words


def test_shares_times_and_lengths_of_time() -> None:
    assert [say.percent(one) for one in (0, 0.34, 0.003, 0.00001, None)] == [
        "0\u00a0%",
        "34\u00a0%",
        "0.3\u00a0%",
        "under 0.01\u00a0%",
        "–",
    ]
    assert [say.times(one) for one in (0.0, 1.0, 4.0, -1.0, 1e9)][:4] == [
        "1.0\u00a0×",
        "2.7\u00a0×",
        "55\u00a0×",
        "0.37\u00a0×",
    ]
    assert say.when("2013-06-09T00:00:00Z", UTC) == "9 Jun 2013"
    assert say.when("2013-06-09T16:30:00Z", UTC) == "9 Jun 2013, 16:30 UTC"
    assert say.when("yesterday", UTC) == "yesterday"
    assert say.lasting("2013-06-09T00:00:00Z", "2013-06-11T02:14:00Z", UTC) == "2 days"
    assert say.lasting("2013-06-09T00:00:00Z", "2013-06-09T01:14:00Z", UTC) == "1 hour"


def test_colours_keep_a_contrast_of_4_5_by_day_and_by_night() -> None:
    sheet = static("middlewatch.css").decode()
    light, dark = sheet.split("@media (prefers-color-scheme: dark)")
    by_day = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light))
    by_night = {**by_day, **dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", dark.partition("*, *::before")[0]))}
    assert by_day != by_night
    for colours in (by_day, by_night):
        for words, ground in (
            *((one, ground) for one in ("ink", "soft", "link", "failing", "incident") for ground in ("paper", "sheet")),
            *(("on-state", state) for state in ("failing", "look", "healthy", "no-data", "learning")),
        ):
            assert contrast(colours[words], colours[ground]) >= 4.5, (words, ground)


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_store_of_these_tests_is_what_it_says(site: Site) -> None:
    days = site.project.windows("delay").summaries()
    assert [one["source"] for one in days] == ["training"] * TRAINING + ["log"] * LIVE


def test_what_to_do_next_does_not_begin_in_the_middle_of_a_sentence() -> None:
    fix = "temp = temp * 1.8 + 32  (undoes it)"
    assert _after(f"{fix}; then  middlewatch incidents 8 mark-bad", fix) == "middlewatch incidents 8 mark-bad"
    assert _after(f"{fix}; or  middlewatch rollback --dry-run", fix) == "middlewatch rollback --dry-run"
    assert _after("middlewatch status", "") == "middlewatch status"
    assert _after(f"{fix}   (would help: v3 answered before)", fix) == ""
