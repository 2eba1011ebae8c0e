//! As much of Prometheus' query language as is needed to say what an expression asks for. Whether it is valid is
//! Prometheus' to say.

/// A vector selector: a metric, what its labels must be, and the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// What stands between the braces.
    pub matchers: String,
    /// What stands between the brackets; nothing if it is an instant vector.
    pub window: String,
    /// The functions that it is an argument of, the innermost last.
    pub within: Vec<String>,
}

/// Words before lists of labels.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that are no metrics.
const OPERATORS: [&str; 7] = ["and", "or", "unless", "bool", "offset", "inf", "nan"];

/// All selectors of an expression, from left to right.
///
/// # Panics
/// When braces, brackets or quotes are not closed.
#[must_use]
pub fn selectors(expression: &str) -> Vec<Selector> {
    let mut found: Vec<Selector> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = expression;
    let mut word = String::new();
    while let Some(next) = rest.chars().next() {
        if next.is_ascii_alphabetic() || next == '_' || next == ':' {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            rest.split_at(end).0.clone_into(&mut word);
            rest = rest[end..].trim_start();
            let is_call = rest.starts_with('(');
            if GROUPING.contains(&word.as_str()) {
                if is_call {
                    rest = inside(rest, '(', ')').1;
                }
                // `sum by (job) (…)`: what follows is the argument of the aggregation before.
                word = found_word(expression, rest, &word);
            } else if !is_call && !is_grouped(rest) && !OPERATORS.contains(&word.as_str()) {
                let mut selector = Selector { metric: word.clone(), ..Selector::default() };
                selector.within.clone_from(&open);
                if rest.starts_with('{') {
                    let (matchers, behind) = inside(rest, '{', '}');
                    (selector.matchers, rest) = (matchers.to_owned(), behind);
                }
                if rest.starts_with('[') {
                    let (window, behind) = inside(rest, '[', ']');
                    (selector.window, rest) = (window.to_owned(), behind);
                }
                found.push(selector);
            }
            continue;
        }
        match next {
            '(' => open.push(std::mem::take(&mut word)),
            ')' => drop(open.pop()),
            '"' => {
                let (_, behind) = inside(rest, '"', '"');
                rest = behind;
                continue;
            }
            digit if digit.is_ascii_digit() => {
                // A number, with its exponent or unit.
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.');
                rest = &rest[end.unwrap_or(rest.len())..];
                continue;
            }
            _ => {}
        }
        rest = &rest[next.len_utf8()..];
    }
    found
}

/// Whether what stands before is an aggregation: `sum by (job) (…)`.
fn is_grouped(rest: &str) -> bool {
    ["by", "without"]
        .into_iter()
        .any(|word| rest.strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with('(')))
}

/// The aggregation that a grouping belongs to, where the grouping stands between it and its argument.
fn found_word(expression: &str, rest: &str, grouping: &str) -> String {
    if !rest.trim_start().starts_with('(') {
        return String::new();
    }
    let before = &expression[..expression.len() - rest.len()];
    let before = before.rsplit_once(grouping).map_or("", |(before, _)| before).trim_end();
    let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    before[start.map_or(0, |at| at + 1)..].to_owned()
}

/// What stands between a pair, and what behind; quoted text does not count.
fn inside(text: &str, open: char, close: char) -> (&str, &str) {
    let mut is_quoted = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if c == close && !is_quoted => return (&text[1..at], &text[at + c.len_utf8()..]),
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    panic!("{open} is not closed in {text:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(metric: &str, matchers: &str, window: &str, within: &[&str]) -> Selector {
        let within = within.iter().map(|it| (*it).to_owned()).collect();
        let [metric, matchers, window] = [metric, matchers, window].map(str::to_owned);
        Selector { metric, matchers, window, within }
    }

    #[test]
    fn metrics_are_told_from_functions_labels_and_numbers() {
        let expression = "histogram_quantile(0.99, sum by (job, le) (rate(a_bucket{x=\"}\"}[5m]))) > 1e3 \
                          and on (job) b{c=~\"d|e\"} or time() - max_over_time(f[1d] offset 5m)";
        let expected = [
            selector("a_bucket", "x=\"}\"", "5m", &["histogram_quantile", "sum", "rate"]),
            selector("b", "c=~\"d|e\"", "", &[]),
            selector("f", "", "1d", &["max_over_time"]),
        ];
        assert_eq!(selectors(expression), expected);
    }

    #[test]
    fn recorded_names_and_grouping_at_the_end_are_understood() {
        let found = selectors("1 - job:x:ratio / sum(y) by (host) ");
        assert_eq!(found, [selector("job:x:ratio", "", "", &[]), selector("y", "", "", &["sum"])]);
    }
}
