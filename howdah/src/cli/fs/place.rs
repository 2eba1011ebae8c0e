//! What a verb is told to work on: paths of the chunk store, or URLs of other stores, both with patterns.

use std::str::FromStr;

use anyhow::anyhow;
use chunkstore_client::stores::{StoreUrl, UrlError};

use super::pattern::{Part, Pattern, PatternError};
use crate::exit::early;

/// A parser of what can only be of the chunk store; `why` says so, and what to do instead.
pub(super) fn only_own<T>(why: &'static str) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    move |text| match ids::names_another_store(text) {
        true => Err(format!("{text} is in another store: {why}")),
        false => {
            let text = StoreUrl::without_own_scheme(text);
            // A slash at the end, as shells complete folders, is left off.
            let trimmed = text.trim_end_matches('/');
            let text = if trimmed.is_empty() && !text.is_empty() { "/" } else { trimmed };
            text.parse().map_err(|error: T::Err| error.to_string())
        }
    }
}

/// One path or URL, or a pattern of them, as somebody typed it.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Of the chunk store.
    Own(Pattern),
    /// Of another store.
    Url(UrlPattern),
}

/// All that one command is told, of one kind.
pub(super) enum Places {
    /// Of the chunk store.
    Own(Vec<Pattern>),
    /// Of other stores.
    Urls(Vec<UrlPattern>),
}

/// A URL, or a pattern of them.
#[derive(Clone, Debug)]
pub(super) struct UrlPattern {
    /// As it stands.
    pub(super) url: StoreUrl,
    /// What else it means, if it holds anything special.
    alternatives: Vec<Vec<Part>>,
}

/// Why a text is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    /// No path, or no pattern.
    #[error(transparent)]
    Own(#[from] PatternError),
    /// No URL.
    #[error(transparent)]
    Url(#[from] UrlError),
}

impl Place {
    /// Parses several, which must be of one kind.
    pub(super) fn all(texts: &[impl AsRef<str>]) -> anyhow::Result<Places> {
        let places: Result<Vec<Self>, _> = texts.iter().map(|text| text.as_ref().parse()).collect();
        Self::of_one_kind(&places.map_err(early)?)
    }

    pub(super) fn of_one_kind(places: &[Self]) -> anyhow::Result<Places> {
        let (mut own, mut urls) = (Vec::new(), Vec::new());
        for place in places {
            match place {
                Self::Own(pattern) => own.push(pattern.clone()),
                Self::Url(url) => urls.push(url.clone()),
            }
        }
        match (own.is_empty(), urls.is_empty()) {
            (_, true) => Ok(Places::Own(own)),
            (true, false) => Ok(Places::Urls(urls)),
            (false, false) => Err(early(anyhow!(
                "paths of the chunk store and URLs of other stores stand side by side: give two commands"
            ))),
        }
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        match ids::names_another_store(text) {
            true => Ok(Self::Url(text.parse()?)),
            false => Ok(Self::Own(StoreUrl::without_own_scheme(text).parse()?)),
        }
    }
}

impl FromStr for UrlPattern {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let url: StoreUrl = text.parse()?;
        let pattern: Pattern = format!("/{}", url.path()).parse()?;
        Ok(Self { url, alternatives: pattern.alternatives().to_vec() })
    }
}

impl UrlPattern {
    /// Whether it means more than the one place.
    pub(super) fn is_pattern(&self) -> bool {
        !self.alternatives.is_empty()
    }

    /// The folder that all it can match lies below: what stands before the first special part.
    pub(super) fn fixed(&self) -> Vec<String> {
        let fixed = |parts: &Vec<Part>| {
            let name = |part: &Part| match part {
                Part::Name(name) => Some(name.clone()),
                Part::Glob(_) | Part::Folders => None,
            };
            parts.iter().map_while(name).collect::<Vec<_>>()
        };
        let mut all = self.alternatives.iter().map(fixed);
        let first = all.next().unwrap_or_default();
        all.fold(first, |common, next| {
            let same = common.iter().zip(&next).take_while(|(a, b)| a == b);
            same.map(|(part, _)| part.clone()).collect()
        })
    }

    /// Of an object with these parts, how many of them make a path that is matched: the object's own, or a folder's
    /// above it.
    pub(super) fn matched(&self, parts: &[&str]) -> Vec<usize> {
        let mut lengths: Vec<_> =
            self.alternatives.iter().flat_map(|alternative| lengths(alternative, parts)).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }
}

fn lengths(pattern: &[Part], parts: &[&str]) -> Vec<usize> {
    let Some((first, rest)) = pattern.split_first() else { return vec![0] };
    let one_more = |n: Vec<usize>, taken: usize| n.into_iter().map(move |n| n + taken);
    match (first, parts.split_first()) {
        (Part::Folders, _) => (0..=parts.len())
            .filter(|taken| !rest.is_empty() || *taken > 0)
            .flat_map(|taken| one_more(lengths(rest, &parts[taken..]), taken))
            .collect(),
        (Part::Name(name), Some((part, below))) if name == part => {
            one_more(lengths(rest, below), 1).collect()
        }
        (Part::Glob(regex), Some((part, below))) if regex.is_match(part) => {
            one_more(lengths(rest, below), 1).collect()
        }
        (Part::Name(_) | Part::Glob(_), _) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_urls_match_objects_and_the_folders_above_them() {
        for (pattern, path, expected) in [
            ("s3://b/in/*.txt", "in/a.txt", vec![2]),
            ("s3://b/in/*.txt", "in/a.csv", vec![]),
            ("s3://b/*", "in/a.txt", vec![1]),
            ("s3://b/in/*", "in/sub/a", vec![2]),
            ("s3://b/{in,out}/?", "out/x", vec![2]),
            ("s3://b/**/a", "x/y/a", vec![3]),
            ("s3://b/**", "x/y", vec![1, 2]),
            ("s3://b/in*/**/z", "in1/z", vec![2]),
        ] {
            let parsed: UrlPattern = pattern.parse().unwrap();
            let parts: Vec<_> = path.split('/').collect();
            assert_eq!(parsed.matched(&parts), expected, "{pattern} {path}");
            assert!(parsed.is_pattern());
        }
        let fixed = |text: &str| text.parse::<UrlPattern>().unwrap().fixed().join("/");
        assert_eq!(fixed("s3://b/in/x/*.txt"), "in/x");
        assert_eq!(fixed("s3://b/in/{x,y}/z"), "in");
        assert!(!"s3://b/in/a".parse::<UrlPattern>().unwrap().is_pattern());
    }

    #[test]
    fn one_command_works_on_one_kind() {
        assert!(
            matches!(Place::all(&["/a", "howdah:///b"]), Ok(Places::Own(own)) if own.len() == 2)
        );
        assert!(matches!(Place::all(&["s3://b/x"]), Ok(Places::Urls(urls)) if urls.len() == 1));
        for bad in [&["/a", "s3://b/x"][..], &["s3:///x"], &["relative"]] {
            assert!(Place::all(bad).is_err(), "{bad:?}");
        }
    }
}
