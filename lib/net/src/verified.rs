//! A cache of verified tokens: a caller sends the same token with each request, so it need not be
//! decoded, nor its signature computed, each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use ids::UnixMillis;

use crate::Capability;

/// Tokens kept; beyond that, all are forgotten, and those in use are added again.
const TOKENS_MAX: usize = 1024;

/// The contents of a token: the capability, and when it was signed for a user.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) capability: Arc<Capability>,
    pub(crate) issued: UnixMillis,
}

/// Whole tokens, including signatures, and their contents. Only verified tokens are added, and only
/// the very same text is found. Whether a token has expired must still be checked.
#[derive(Default)]
pub(crate) struct Verified {
    /// Uses a hash that is fast for long keys, as each request's token is looked up.
    tokens: Mutex<HashMap<Box<str>, Known, RandomState>>,
}

impl Verified {
    /// The contents of this token, if it was verified before.
    pub(crate) fn find(&self, token: &str) -> Option<Known> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(token).cloned()
    }

    /// Keeps a token that was just verified.
    pub(crate) fn keep(&self, token: &str, known: &Known) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(token.into(), known.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn it_finds_what_was_kept_and_is_bounded() {
        let verified = Verified::default();
        let capability = Arc::new(Capability::unlimited("a", Role::User, UnixMillis(1)));
        let known = Known { capability, issued: UnixMillis(0) };
        for n in 0..3 * TOKENS_MAX {
            verified.keep(&format!("token-{n}"), &known);
            assert!(verified.find(&format!("token-{n}")).is_some());
            assert!(verified.find(&format!("token-{n}.")).is_none());
        }
        assert!(verified.tokens.lock().unwrap().len() <= TOKENS_MAX);
    }
}
