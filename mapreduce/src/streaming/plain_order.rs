//! The order and the partition of keys as the oracle has them: fields in a list, numbers compared as texts, nothing
//! encoded. (The runtime's are in `keys.rs`; they check each other.)

use std::cmp::Ordering;

use mapreduce_protocol::Streaming;
use mapreduce_protocol::streaming::{KeyFields, KeyPart};
use xxhash_rust::xxh3::xxh3_64;

/// What counts of a key.
pub(super) struct PlainOrder {
    sort: Option<KeyFields>,
    partition: Option<KeyFields>,
    separator: String,
}

impl PlainOrder {
    /// As the job says.
    pub(super) fn of(about: &Streaming) -> Self {
        let parse = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        let separator = about.key_separator.clone().unwrap_or_else(|| "\t".to_owned());
        Self { sort: parse(&about.sort), partition: parse(&about.partition), separator }
    }

    /// The order of two keys.
    pub(super) fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        let parts = self.sort.iter().flat_map(|fields| &fields.parts);
        let mut orders = parts.map(|part| {
            let order = match (self.part(part, a), self.part(part, b)) {
                (Some(a), Some(b)) if part.numeric => compare_numbers(&a, &b),
                (a, b) if part.numeric => a.is_some().cmp(&b.is_some()),
                (a, b) => a.unwrap_or_default().cmp(&b.unwrap_or_default()),
            };
            if part.reverse { order.reverse() } else { order }
        });
        orders.find(|order| order.is_ne()).unwrap_or_else(|| a.cmp(b))
    }

    /// The hash that decides about the reduce.
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        let Some(fields) = &self.partition else { return xxh3_64(key) };
        let parts = fields.parts.iter().filter_map(|part| self.part(part, key));
        xxh3_64(&parts.flat_map(|part| [part, vec![0]].concat()).collect::<Vec<u8>>())
    }

    fn part(&self, part: &KeyPart, key: &[u8]) -> Option<Vec<u8>> {
        // Where each field begins and ends.
        let separator = self.separator.as_bytes();
        let (mut fields, mut start, mut at) = (Vec::new(), 0, 0);
        while at < key.len() {
            if key[at..].starts_with(separator) {
                fields.push((start, at));
                at += separator.len();
                start = at;
            } else {
                at += 1;
            }
        }
        fields.push((start, key.len()));
        let (start, end) = *fields.get(part.first.field as usize - 1)?;
        let from = (start + part.first.byte as usize - 1).min(end);
        let to = match part.last {
            None => key.len(),
            Some(last) => match fields.get(last.field as usize - 1) {
                None => key.len(),
                Some((_, end)) if last.byte == 0 => *end,
                Some((start, end)) => (start + last.byte as usize).min(*end),
            },
        };
        Some(key.get(from..to).unwrap_or_default().to_vec())
    }
}

fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (number(a), number(b));
    match (a.0, b.0) {
        (true, true) => compare_sizes(&b, &a),
        (false, false) => compare_sizes(&a, &b),
        (a_is_negative, _) => {
            if a_is_negative {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
    }
}

type Number = (bool, String, String);

/// Whether it is below zero, what stands in front of the point, and behind it.
fn number(text: &[u8]) -> Number {
    let text = String::from_utf8_lossy(text.trim_ascii_start()).into_owned();
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let whole = digits(text);
    let decimals = text[whole.len()..].strip_prefix('.').map(digits).unwrap_or_default();
    let (whole, decimals) = (whole.trim_start_matches('0'), decimals.trim_end_matches('0'));
    let is_zero = whole.is_empty() && decimals.is_empty();
    (is_negative && !is_zero, whole.to_owned(), decimals.to_owned())
}

fn compare_sizes(a: &Number, b: &Number) -> Ordering {
    a.1.len().cmp(&b.1.len()).then_with(|| a.1.cmp(&b.1)).then_with(|| a.2.cmp(&b.2))
}
