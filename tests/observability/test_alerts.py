"""Alert rules and the board: they parse, fire when they should, and name nothing that the gateway does not show."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

import gateway.daemon  # noqa: F401 # every room that counts is imported with it
from gateway.metrics import REGISTRY
from tests.observability.anchors import anchors_of

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "deploy" / "prometheus").glob("*.rules.yml"))
BOARD = ROOT / "deploy" / "grafana" / "mail2sms.json"
DEADLINE_S = 240
GIVEN_BY_PROMETHEUS = {"job", "instance", "le"}


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shown() -> dict[str, set[str]]:
    """Return each series that the gateway shows, with its labels."""
    found: dict[str, set[str]] = {"up": set(), "ALERTS": {"alertname", "alertstate"}}
    for collector, names in REGISTRY._collector_to_names.items():
        labels = set(collector._labelnames) if isinstance(collector, MetricWrapperBase) else set()
        found.update(dict.fromkeys(names, labels))
    return found


def queries_of(board: dict[str, Any]) -> Iterator[str]:
    """Every query of the board, its variables replaced."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for annotation in board["annotations"]["list"]:
        yield annotation["expr"]
    for variable in board["templating"]["list"]:
        if found := re.fullmatch(r"label_values\((.*), \w+\)", variable.get("definition", "")):
            yield found[1]


def board() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(BOARD.read_text("utf-8"))
    return loaded


def plain(query: str) -> str:
    return query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")


def expressions() -> list[str]:
    """Every expression of the rules and of the board."""
    found = [plain(query) for query in queries_of(board())]
    for file in RULES:
        blocks = re.findall(r"^ +expr: >-\n((?: {10}.*\n)+)", file.read_text("utf-8"), re.MULTILINE)
        found += [" ".join(block.split()) for block in blocks]
    return found


@pytest.mark.slow
def test_the_rules_are_rules() -> None:
    assert len(RULES) == 2
    assert promtool("check", "rules", *map(str, RULES)).count("SUCCESS") == len(RULES)


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    cases = (ROOT / "tests" / "observability" / "rules.test.yml").read_text("utf-8")
    file = tmp_path / "rules.test.yml"
    file.write_text(cases.replace("@RULES@", str(ROOT / "deploy" / "prometheus")), "utf-8")

    promtool("test", "rules", str(file))


def test_each_alert_has_its_case() -> None:
    cases = (ROOT / "tests" / "observability" / "rules.test.yml").read_text("utf-8")
    alerts = [name for file in RULES for name in re.findall(r"- alert: (\w+)", file.read_text("utf-8"))]

    assert len(alerts) > 20
    assert [name for name in alerts if f"{name}" not in cases] == []


def test_each_alert_says_how_bad_it_is_and_where_its_runbook_is() -> None:
    anchors = anchors_of(ROOT / "docs" / "operating.md")
    for file in RULES:
        for alert in file.read_text("utf-8").split("- alert: ")[1:]:
            runbook = re.search(r"runbook_url: docs/operating\.md#(\S+)", alert)

            assert re.search(r"severity: (critical|warning)\n", alert), alert
            assert re.search(r"summary: '.{10,}'\n +description: >-\n +\S", alert), alert
            assert runbook, alert
            assert runbook[1] in anchors, alert


@pytest.mark.slow
def test_every_query_of_the_board_can_be_asked(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": plain(one)} for number, one in enumerate(queries_of(board()))]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}), "utf-8")

    assert len(rules) > 30
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_rules_and_board_name_only_what_there_is() -> None:
    series = shown()
    used = {name for one in expressions() for name in re.findall(r"\b(?:mail2sms|process|python)_\w+", one)}

    assert used - set(series) == set()
    assert {name for name in used if name.startswith("mail2sms_")}


def test_rules_and_board_go_by_labels_that_there_are() -> None:
    series = shown()
    for one in expressions():
        for name, matchers in re.findall(r"\b(mail2sms_\w+)\{([^}]*)\}", one):
            assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= series[name] | GIVEN_BY_PROMETHEUS, one


def test_what_matters_most_has_an_alert_and_a_panel() -> None:
    alerts = "\n".join(file.read_text("utf-8") for file in RULES)
    panels = "\n".join(queries_of(board()))
    symptoms = {
        "mail2sms_ready",
        "mail2sms_store_up",
        "mail2sms_queue_oldest_age_seconds",
        "mail2sms_report_unsent_age_seconds",
        "mail2sms_provider_up",
        "mail2sms_provider_held_accounts",
        "mail2sms_provider_balance",
        "mail2sms_store_disk_free_bytes",
        "mail2sms_smtp_certificate_expiry_seconds",
        "mail2sms_smtp_answers_total",
        "mail2sms_log_lines_total",
        "mail2sms_start_time_seconds",
    }

    assert {name for name in symptoms if name not in alerts} == set()
    assert {name for name in symptoms if name not in panels} == set()


def test_the_board_is_one_that_grafana_takes() -> None:
    loaded = board()
    ids = [panel["id"] for panel in loaded["panels"]]

    assert loaded["schemaVersion"] >= 36
    assert {"uid", "title", "time", "templating", "panels"} <= set(loaded)
    assert len(set(ids)) == len(ids)
    for panel in loaded["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        if panel["type"] != "row":
            assert [target["refId"] for target in panel["targets"]] == sorted(
                {target["refId"] for target in panel["targets"]}
            )
            assert panel["datasource"]["uid"] == "${datasource}"


def test_no_two_panels_lie_on_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }

        assert not cells & taken, panel["title"]
        taken |= cells
