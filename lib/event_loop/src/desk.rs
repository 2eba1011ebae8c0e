//! Matches the replies of a machine to the callers that wait for them. An input carries a number,
//! an effect brings it back with the answer, and the desk hands the answer to the sender of the
//! input. Called by the masters' HTTP layer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::Stopped;

/// Holds one waiter for each request in flight. Cheap to clone; all clones share one desk.
pub struct ReplyDesk<A> {
    shared: Arc<Shared<A>>,
}

struct Shared<A> {
    last: AtomicU64,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<A>>>,
}

impl<A> Clone for ReplyDesk<A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<A> Default for ReplyDesk<A> {
    fn default() -> Self {
        let shared = Shared { last: AtomicU64::new(0), waiting: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }
}

impl<A> ReplyDesk<A> {
    /// A caller begins to wait, under a new number.
    #[must_use]
    pub fn expect_one(&self) -> Waiter<A> {
        let number = self.shared.last.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.lock().insert(number, sender);
        Waiter { desk: self.clone(), number, answer, is_answered: false }
    }

    /// Delivers the answer for that number. If its request was given up, the answer is dropped.
    pub fn answer(&self, number: u64, answer: A) {
        if let Some(waiting) = self.lock().remove(&number) {
            let _given_up = waiting.send(answer);
        }
    }

    /// The lock is never held across an await.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<A>>> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiting caller, until it is dropped.
pub struct Waiter<A> {
    desk: ReplyDesk<A>,
    number: u64,
    answer: oneshot::Receiver<A>,
    is_answered: bool,
}

impl<A> Waiter<A> {
    /// The number that the input must carry.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the answer. Cancellation safe: the future may be dropped and the answer awaited
    /// again.
    ///
    /// # Errors
    /// The loop has ended without one.
    pub async fn answer(&mut self) -> Result<A, Stopped> {
        let answer = (&mut self.answer).await.map_err(|_| Stopped)?;
        self.is_answered = true;
        Ok(answer)
    }

    /// Stops waiting. Returns whether the answer was still to come; it will then be dropped.
    pub fn withdraw(&self) -> bool {
        self.desk.lock().remove(&self.number).is_some()
    }
}

impl<A> Drop for Waiter<A> {
    fn drop(&mut self) {
        // An answered waiter is off the desk already.
        if !self.is_answered {
            self.withdraw();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_hears_its_own_answer_and_one_that_gave_up_none() {
        let desk = ReplyDesk::default();
        let (mut first, mut second, given_up) =
            (desk.expect_one(), desk.expect_one(), desk.expect_one());
        let gone = given_up.number();
        assert!(given_up.withdraw() && !given_up.withdraw());
        drop(given_up);
        for (number, answer) in [(second.number(), "b"), (gone, "lost"), (first.number(), "a")] {
            desk.answer(number, answer);
        }
        assert_eq!((first.answer().await, second.answer().await), (Ok("a"), Ok("b")));
        assert!(!first.withdraw(), "it was answered");
        assert!(desk.lock().is_empty());
    }
}
