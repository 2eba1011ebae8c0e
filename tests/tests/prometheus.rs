//! Debian's Prometheus with what is shipped for it: every expression of the dashboards and the rules returns data from
//! a cluster that works and has lost a chunkserver, and every alert fires and is over again.

use std::collections::BTreeMap;

use tests::cluster::PATIENCE;
use tests::dashboards::{dashboards, rules};
use tests::prometheus::{Prometheus, copy_configuration, program, promtool};
use tests::promql::{Selector, selectors};
use tests::{Dev, DevOptions, wait};

/// Alerts that must be raised since a chunkserver is dead.
const OF_A_DEAD_CHUNKSERVER: [&str; 2] = ["HowdahHostDaemonDown", "HowdahChunkserversDead"];

#[test]
fn promtool_accepts_the_configuration_and_every_alert_fires_and_is_over_again() {
    let Some(tool) = program("promtool") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy_configuration(folder.path());
    std::fs::write(folder.path().join("howdah.token"), "a token").expect("a file can be written");
    let check = |arguments: &[&str]| promtool(&tool, folder.path(), arguments).success();
    let _checked = check(&["check", "config", "prometheus.yml"]);
    for rules in ["rules/recording.yml", "rules/alerts.yml"] {
        let _checked = check(&["check", "rules", "--lint=all", "--lint-fatal", rules]);
    }
    let _tested = check(&["test", "rules", "tests/alerts_test.yml"]);
}

/// What a dashboard asks with everything chosen.
fn chosen(expression: &str) -> String {
    let choices =
        [("$job", "howdah"), ("$instance", ".+"), ("$host", ".+"), ("$__rate_interval", "1m")];
    choices.into_iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Everything that is to return data of a cluster that works, with where it stands: panels, recording rules, and what
/// alerts look at.
fn asked_always() -> BTreeMap<String, String> {
    let mut asked = BTreeMap::new();
    for dashboard in dashboards() {
        for (title, expression) in dashboard.expressions() {
            asked.insert(chosen(&expression), format!("{}: {title}", dashboard.name));
        }
    }
    for rule in rules() {
        match (rule.record, rule.alert) {
            (Some(record), _) => drop(asked.insert(rule.expr, record)),
            (None, alert) => {
                // Only a cluster with TLS has certificates; `tls` asks for these.
                let is_of_tls = |it: &Selector| it.metric.starts_with("howdah_tls_");
                for selector in selectors(&rule.expr).into_iter().filter(|it| !is_of_tls(it)) {
                    let metric = format!("{}{{{}}}", selector.metric, selector.matchers);
                    asked.insert(metric, alert.clone().expect("it records or alerts"));
                }
            }
        }
    }
    asked
}

#[test]
fn every_expression_returns_data_from_a_cluster_that_prometheus_scrapes() {
    let fast = ["chunkmaster.heartbeat_interval=200ms", "chunkmaster.dead_after=2s"];
    let options = DevOptions::trackers(3).set("tasktracker.health_interval=1s");
    let mut dev = Dev::start(&fast.into_iter().fold(options, DevOptions::set));
    let Some(prometheus) = Prometheus::start(&dev) else { return };
    let up = |n: f64| (prometheus.query("sum(up)") == [n]).then_some(());
    wait::until("all eight daemons are scraped", PATIENCE, || up(8.0));

    dev.put_text(&"all work and no play makes jack a dull boy\n".repeat(20_000), "/in/text");
    let mut left = asked_always();
    assert!(left.len() > 150, "{} expressions", left.len());
    let mut n_jobs = 0;
    wait::until("every expression returns data", PATIENCE, || {
        n_jobs += 1;
        let job = format!(
            "name: n\ninput: [/in]\noutput: /out/{n_jobs}\nreduces: 2\nprogram: {{builtin: {{name: wordcount}}}}\n"
        );
        let _id = dev.run(&["job", "submit", &dev.job_file("job.yaml", &job), "--wait"]).success();
        let is_there =
            |expression: &str| prometheus.query(expression).iter().any(|it| !it.is_nan());
        left.retain(|expression, _| !is_there(expression));
        println!("after {n_jobs} jobs without data: {left:#?}");
        left.is_empty().then_some(())
    });

    dev.kill("chunkserver-3");
    let alerts: Vec<_> = rules().into_iter().filter(|rule| rule.alert.is_some()).collect();
    for name in OF_A_DEAD_CHUNKSERVER {
        let rule = alerts.iter().find(|rule| rule.alert.as_deref() == Some(name));
        let expression = &rule.expect("the alert is shipped").expr;
        wait::until(&format!("{name} has a cause"), PATIENCE, || {
            (!prometheus.query(expression).is_empty()).then_some(())
        });
        let raised = format!("ALERTS{{alertname=\"{name}\", job=\"howdah\"}}");
        wait::until(&format!("{name} is raised"), PATIENCE, || {
            (!prometheus.query(&raised).is_empty()).then_some(())
        });
    }
    let short = "sum(howdah_chunkmaster_chunks_under_replicated) > 0";
    wait::until("chunks are short of replicas", PATIENCE, || prometheus.query(short).pop());
}
