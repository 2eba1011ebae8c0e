//! What a file that was mended may change of a run that goes on with it.

use anyhow::anyhow;
use serde_json::Value;

use super::file::WorkflowFile;
use super::folder::Saved;
use super::plan::{Plan, RunNames};
use crate::exit::early;

/// Refuses a mended file in which something that has run would be something else, its variables replaced.
pub(crate) fn same_where_done(
    old: &WorkflowFile,
    new: &WorkflowFile,
    saved: &Saved,
    names: &RunNames,
) -> anyhow::Result<()> {
    let done = saved.done();
    for (at, it) in new.plan.loops.iter().enumerate() {
        let furthest = new.plan.furthest(at, &done);
        if it.rounds < furthest {
            let (place, rounds) = (new.place_of(&it.name), it.rounds);
            return Err(early(anyhow!(
                "{place}: 'rounds' is {rounds}, and round {furthest} has run: take {furthest} or more"
            )));
        }
    }
    for execution in done.keys() {
        let name = &execution.job;
        let (before, now) = (old.plan.job(name), new.plan.job(name));
        let is_same = before.zip(now).is_some_and(|(before, now)| {
            let in_loop = |plan: &Plan, at: Option<usize>| at.map(|at| plan.loops[at].name.clone());
            let resolved = |file: &WorkflowFile| file.plan.resolved(execution, names, &done);
            let (was, is) = match (resolved(old), resolved(new)) {
                (Ok(was), is) => (Some(was), is.ok()),
                // The loops behind these names are under way: the names themselves are compared.
                (Err(_), _) => (Some(before.template.clone()), Some(now.template.clone())),
            };
            let of = |value: &Option<Value>, key: &str| {
                value.as_ref().and_then(|it| it.get(key)).cloned()
            };
            let same = |key: &str| of(&was, key) == of(&is, key);
            let without_name = |value: &Option<Value>| {
                let mut value = value.clone();
                if let Some(fields) = value.as_mut().and_then(Value::as_object_mut) {
                    fields.remove("name");
                }
                value
            };
            // Of a loop, later rounds may be mended, where they read and write the same.
            let may_differ = now.in_loop.is_some() && same("input") && same("output");
            (without_name(&was) == without_name(&is) || may_differ)
                && in_loop(&old.plan, before.in_loop) == in_loop(&new.plan, now.in_loop)
        });
        if !is_same {
            let what = "it has succeeded in this run: keep it as it was, variables too (in a loop: its input and output), \
                        or begin a new run";
            return Err(early(anyhow!("{}: {what}", new.place_of(name))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::folder::{End, Try};
    use super::super::plan::Execution;
    use super::*;

    fn names() -> RunNames {
        RunNames { run: "r".into(), work: "/w".into(), store: "" }
    }

    fn parsed(text: &str, variables: &[(String, Value)]) -> WorkflowFile {
        WorkflowFile::parse("flow.yaml".as_ref(), text, variables).unwrap()
    }

    #[test]
    fn what_has_run_stays_as_it_was_with_its_variables() {
        const FLOW: &str = "\
name: n
variables: {words: /a}
jobs:
  first: {input: ['${words}'], output: /o, program: {builtin: {name: wordcount}}}
  walk:
    rounds: 5
    until: {counter: g.MOVED, at_most: 0}
    jobs:
      step: {input: ['${words}'], output: '/s-${round}', program: {builtin: {name: wordcount}}}
";
        let mut saved = Saved::default();
        let mut succeeds = |job: &str, round: u32| {
            let end = End {
                failure: None,
                output: "/o".into(),
                counters: BTreeMap::from([("g.MOVED".into(), 3)]),
            };
            let it = Try { has_spec: true, id: None, end: Some(end) };
            saved.tries.entry(Execution { job: job.into(), round }).or_default().insert(1, it);
        };
        succeeds("first", 0);
        succeeds("step", 1);
        succeeds("step", 2);
        let check = |text: &str, variables: &[(String, Value)]| {
            let checked =
                same_where_done(&parsed(FLOW, &[]), &parsed(text, variables), &saved, &names());
            checked.map_err(|error| error.to_string())
        };
        check(FLOW, &[]).unwrap();
        check(&FLOW.replace("rounds: 5", "rounds: 9"), &[]).unwrap();
        check(&FLOW.replace("name: n", "name: another"), &[]).unwrap();
        let said = check(FLOW, &[("words".into(), "/b".into())]).unwrap_err();
        assert!(said.contains("job first") && said.contains("variables too"), "{said}");
        let said = check(&FLOW.replace("words: /a", "words: /b"), &[]).unwrap_err();
        assert!(said.contains("job first"), "{said}");
        let said = check(&FLOW.replace("rounds: 5", "rounds: 1"), &[]).unwrap_err();
        assert!(said.contains("round 2 has run"), "{said}");
    }
}
