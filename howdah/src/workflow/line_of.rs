//! Where in a workflow file a job stands, for messages.

/// The line on which the key `name` stands below `jobs:`, directly or in a loop, from 1; `None` in flow style.
pub(super) fn line_of(text: &str, name: &str) -> Option<usize> {
    let depth = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let is_key = |line: &str, key: &str| {
        let line = line.trim_start_matches(' ');
        let line = line.strip_prefix(['"', '\'']).unwrap_or(line);
        let rest = line.strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(':'))
    };
    // Depths of the `jobs:` that the line is below, and of the keys in each.
    let mut below: Vec<(usize, Option<usize>)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let here = depth(line);
        while below.last().is_some_and(|(jobs, _)| here <= *jobs) {
            below.pop();
        }
        if let Some((_, keys)) = below.last_mut() {
            let keys = *keys.get_or_insert(here);
            if here == keys && is_key(line, name) {
                return Some(number + 1);
            }
        }
        let is_jobs = below.is_empty() && here == 0 || below.len() == 1;
        if is_jobs && is_key(line, "jobs") {
            below.push((here, None));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_loops_and_not_in_keys_of_jobs() {
        let text = "name: n\njobs:\n  input:\n    input: [/a]\n    output: /b\n\n  walk:\n    rounds: 2\n    jobs:\n      output: {}\n      'add':\n        x: 1\n";
        let found = ["input", "walk", "output", "add", "none"].map(|name| line_of(text, name));
        assert_eq!(found, [Some(3), Some(7), Some(10), Some(11), None]);
    }
}
