//! What is shipped for Prometheus and Grafana: no metric is named that does not exist, Grafana's dashboard-linter would
//! have nothing to say, and each alert has its paragraph and its test.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests::dashboards::{Dashboard, Rule, dashboards, files, read, rules};
use tests::promql::{Selector, selectors};

use crate::sources::none;

/// Grafana's names of the units that ours are in.
const UNITS: [&str; 7] = ["none", "s", "bytes", "Bps", "percentunit", "ops", "reqps"];
/// What may be done with a counter.
const RATES: [&str; 3] = ["rate", "increase", "irate"];
/// Prometheus' own.
const OF_PROMETHEUS: &str = "up";

/// The metrics of the page by name, with their types; those of a histogram as its series are called.
fn metrics() -> BTreeMap<String, String> {
    let page = read("METRICS.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| {
        let (name, rest) = row.split_once("` | ")?;
        Some((name.to_owned(), rest.split_once(' ')?.0.to_owned()))
    });
    let mut metrics: BTreeMap<String, String> = rows.collect();
    assert!(metrics.len() > 80, "the page was understood");
    let histograms = metrics.iter().filter(|(_, kind)| *kind == "histogram");
    let histograms: Vec<_> = histograms.map(|(name, _)| name.clone()).collect();
    for name in histograms {
        metrics.remove(&name);
        for end in ["bucket", "sum", "count"] {
            metrics.insert(format!("{name}_{end}"), "counter".to_owned());
        }
    }
    metrics.insert(OF_PROMETHEUS.to_owned(), "gauge".to_owned());
    metrics
}

/// What is wrong with how a selector uses its metric.
fn misuse(selector: &Selector, metrics: &BTreeMap<String, String>) -> Option<String> {
    let name = &selector.metric;
    let Some(kind) = metrics.get(name) else { return Some(format!("there is no metric {name}")) };
    let is_rate = selector.within.last().is_some_and(|it| RATES.contains(&it.as_str()));
    match (kind.as_str(), is_rate) {
        ("counter", false) => Some(format!("{name} is a counter: only its rate says something")),
        ("gauge", true) => Some(format!("{name} is a gauge: it has no rate")),
        _ => None,
    }
}

#[test]
fn dashboards_and_rules_name_no_metric_that_does_not_exist() {
    let mut metrics = metrics();
    let mut findings = Vec::new();
    for dashboard in dashboards() {
        for (title, expression) in dashboard.expressions() {
            let found = selectors(&expression).into_iter().filter_map(|it| misuse(&it, &metrics));
            findings.extend(found.map(|it| format!("{}, {title}: {it}", dashboard.name)));
        }
    }
    let recorded = rules().into_iter().filter_map(|rule| rule.record);
    metrics.extend(recorded.map(|name| (name, "gauge".to_owned())));
    for rule in rules() {
        let found = selectors(&rule.expr).into_iter().filter_map(|it| misuse(&it, &metrics));
        let name = rule.alert.or(rule.record).unwrap_or_default();
        findings.extend(found.map(|it| format!("{name}: {it}")));
    }
    none("metrics in dashboards/ that are not METRICS.md's", &findings);
}

#[test]
fn every_recorded_rule_is_named_by_its_labels_and_what_was_done() {
    let is_named = |name: &String| name.split(':').filter(|part| !part.is_empty()).count() == 3;
    let records = rules().into_iter().filter_map(|rule| rule.record);
    let findings: Vec<_> = records.filter(|name| !is_named(name)).collect();
    none("recorded names that are not level:metric:operation", &findings);
}

/// A variable of a dashboard, by its name.
fn variable<'a>(dashboard: &'a Dashboard, name: &str) -> &'a Value {
    let variables = dashboard.json["templating"]["list"].as_array().expect("a list of variables");
    variables.iter().find(|it| it["name"] == name).unwrap_or(&Value::Null)
}

/// What the linter asks of a dashboard as a whole.
fn lint_dashboard(dashboard: &Dashboard, metrics: &BTreeMap<String, String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            findings.push(format!("{}: {what}", dashboard.name));
        }
    };
    let json = &dashboard.json;
    demand(json["uid"] == *dashboard.name, "its uid is its file's name");
    demand(dashboard.name.len() <= 40, "a uid has at most 40 characters");
    demand(
        json["id"].is_null() && json.get("__inputs").is_none(),
        "provisioned ones have no id and no inputs",
    );
    demand(json["editable"] == false, "it is not editable (uneditable)");
    demand(
        json["tags"] == serde_json::json!(["howdah"]),
        "it is tagged, so that the others link to it",
    );
    demand(json["description"].as_str().is_some_and(|it| !it.is_empty()), "it says what it is for");
    let source = variable(dashboard, "datasource");
    let is_source = source["type"] == "datasource" && source["query"] == "prometheus";
    demand(is_source && source["label"] == "Data source", "template-datasource");
    for (name, label) in [("job", "Job"), ("instance", "Instance"), ("host", "Host")] {
        let it = variable(dashboard, name);
        if it.is_null() && name == "host" {
            continue;
        }
        demand(it["type"] == "query" && it["label"] == label, &format!("template-{name}"));
        demand(it["datasource"]["uid"] == "${datasource}", &format!("template-{name}: its source"));
        demand(it["multi"] == true && it["includeAll"] == true, &format!("template-{name}: all"));
        demand(it["allValue"] == ".+", &format!("template-{name}: what all means"));
        demand(it["refresh"] == 2, "template-on-time-change-reload");
        let query = it["query"]["query"].as_str().unwrap_or_default();
        let asks = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
        let (selector, asked) = asks.and_then(|it| it.rsplit_once(", ")).unwrap_or_default();
        let is_known = selectors(selector).iter().all(|it| metrics.contains_key(&it.metric));
        demand(asked == name && is_known, "template-label-promql");
    }
    findings
}

/// What it asks of a panel.
fn lint_panel(dashboard: &Dashboard, panel: &Value) -> Vec<String> {
    let title = panel["title"].as_str().unwrap_or_default();
    let mut findings = Vec::new();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            findings.push(format!("{}, panel {title:?}: {what}", dashboard.name));
        }
    };
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    demand(text(&panel["title"]) && text(&panel["description"]), "panel-title-description");
    demand(panel["datasource"]["uid"] == "${datasource}", "panel-datasource");
    let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
    demand(UNITS.contains(&unit), "panel-units");
    let is_drawn = panel["type"] == "timeseries";
    demand(!is_drawn || panel["options"]["legend"]["showLegend"] == true, "it shows its legend");
    let targets = panel["targets"].as_array().cloned().unwrap_or_default();
    demand(!targets.is_empty(), "panel-no-targets");
    let names: BTreeSet<_> = targets.iter().map(|it| it["refId"].to_string()).collect();
    demand(names.len() == targets.len(), "its targets have names of their own");
    for target in &targets {
        demand(target["datasource"]["uid"] == "${datasource}", "panel-datasource of a target");
        let expression = target["expr"].as_str().unwrap_or_default();
        let found = selectors(expression);
        demand(!found.is_empty(), "target-promql");
        for selector in &found {
            for name in ["job", "instance"] {
                let matcher = format!("{name}=~\"${name}\"");
                demand(selector.matchers.contains(&matcher), &format!("target-{name}"));
            }
            let windows = ["", "$__rate_interval"];
            demand(windows.contains(&selector.window.as_str()), "target-rate-interval");
        }
        let legend = target["legendFormat"].as_str().unwrap_or_default();
        demand(!legend.is_empty(), "each of its lines has a legend");
        let labels = legend.split("{{").skip(1).filter_map(|it| it.split_once("}}"));
        for (label, _) in labels {
            let is_kept = expression.split("by (").skip(1).any(|by| {
                let by = by.split(')').next().unwrap_or_default();
                by.split(", ").any(|it| it == label)
            });
            demand(is_kept, &format!("the legend's {label} is a label of the result"));
        }
    }
    findings
}

#[test]
fn grafanas_linter_has_nothing_to_say() {
    let metrics = metrics();
    let mut findings = Vec::new();
    let dashboards = dashboards();
    assert_eq!(dashboards.len(), 6);
    for dashboard in &dashboards {
        findings.extend(lint_dashboard(dashboard, &metrics));
        for panel in dashboard.panels() {
            findings.extend(lint_panel(dashboard, panel));
        }
    }
    none("dashboards that Grafana's dashboard-linter would complain of", &findings);
}

#[test]
fn panels_stand_beside_one_another_and_have_ids_of_their_own() {
    let mut findings = Vec::new();
    for dashboard in dashboards() {
        let panels = dashboard.json["panels"].as_array().expect("a list of panels");
        let ids: BTreeSet<_> = panels.iter().map(|it| it["id"].to_string()).collect();
        if ids.len() != panels.len() {
            findings.push(format!("{}: two panels have one id", dashboard.name));
        }
        let mut taken = BTreeSet::new();
        for panel in panels {
            let number = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
            let (x, y, w, h) = (number("x"), number("y"), number("w"), number("h"));
            let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
            let is_free = cells.fold(x + w <= 24, |free, cell| taken.insert(cell) && free);
            if !is_free {
                findings.push(format!("{}: {} lies on another", dashboard.name, panel["title"]));
            }
        }
    }
    none("panels that are not where they can be seen", &findings);
}

/// The alerts by name.
fn alerts() -> BTreeMap<String, Rule> {
    rules().into_iter().filter_map(|rule| Some((rule.alert.clone()?, rule))).collect()
}

#[test]
fn every_alert_says_what_it_is_and_has_a_paragraph_in_the_runbook() {
    let runbook = read("RUNBOOK.md");
    let headings: BTreeSet<&str> =
        runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    let mut findings = Vec::new();
    for (name, rule) in &alerts {
        let severity = rule.labels.get("severity").map(String::as_str);
        if !["critical", "warning", "info"].map(Some).contains(&severity) {
            findings.push(format!("{name} has the severity {severity:?}"));
        }
        for annotation in ["summary", "description"] {
            if !rule.annotations.contains_key(annotation) {
                findings.push(format!("{name} has no {annotation}"));
            }
        }
        let link = format!("RUNBOOK.md#{}", name.to_lowercase());
        if rule.annotations.get("runbook") != Some(&link) || !headings.contains(name.as_str()) {
            findings.push(format!("{name} has no paragraph in RUNBOOK.md, or does not name it"));
        }
    }
    let gone = headings.iter().filter(|heading| !alerts.contains_key(**heading));
    findings.extend(gone.map(|heading| format!("RUNBOOK.md: {heading} is no alert")));
    none("alerts and their runbook", &findings);
}

/// `promtool` itself is run by `tests/prometheus.rs`; here is that no alert is left out.
#[test]
fn every_alert_is_tested_to_fire_and_to_be_over_again() {
    let mut tested: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for file in files("prometheus/tests", "yml") {
        let text = std::fs::read_to_string(file).expect("a file of text");
        let suite: Value = serde_yaml::from_str(&text).expect("YAML");
        let tests = suite["tests"].as_array().expect("tests").iter();
        let checks = tests.flat_map(|test| test["alert_rule_test"].as_array().expect("checks"));
        for check in checks {
            let name = check["alertname"].as_str().expect("a name").to_owned();
            let (fires, is_over) = tested.entry(name).or_default();
            let is_firing = check["exp_alerts"].as_array().is_some_and(|it| !it.is_empty());
            *is_over |= *fires && !is_firing;
            *fires |= is_firing;
        }
    }
    let is_tested = |name: &&String| tested.get(*name) == Some(&(true, true));
    let findings: Vec<_> = alerts().keys().filter(|name| !is_tested(name)).cloned().collect();
    none("alerts without a test that they fire, and later are over", &findings);
}
