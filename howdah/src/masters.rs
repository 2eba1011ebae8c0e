//! Masters at whose address nobody listens: one that restarts is back in a moment. Whoever gives a command is told so at once, and
//! the command asks on for a while. Nothing was asked where nobody listened, so that nothing is done twice.

use std::fmt::Display;
use std::time::Duration;

use chunkstore_client::StoreError;
use clock::Stopwatch;
use net::{Backoff, CallError};

/// How long a command asks on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience(pub(crate) Duration);

/// A call that did not get to a master which is there, as far as is known.
pub(crate) trait Unheard {
    /// Whether nobody listens at the address, so that nothing was asked.
    fn nobody_listens(&self) -> bool;

    /// Whether the connection broke off: what was asked may have been done.
    fn broke_off(&self) -> bool;
}

impl Unheard for CallError {
    fn nobody_listens(&self) -> bool {
        Self::nobody_listens(self)
    }

    fn broke_off(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }
}

impl Unheard for StoreError {
    fn nobody_listens(&self) -> bool {
        matches!(self, Self::Call { source, .. } if source.nobody_listens())
    }

    fn broke_off(&self) -> bool {
        matches!(self, Self::Call { source, .. } if source.broke_off())
    }
}

impl Patience {
    /// Asks until somebody listens, or this is over; at last that error.
    pub(crate) async fn ask<T, E: Display + Unheard>(
        self,
        ask: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, E> {
        self.ask_while(E::nobody_listens, ask).await
    }

    /// The same for what changes nothing: it is asked again where a master that ends has broken off, too.
    pub(crate) async fn look<T, E: Display + Unheard>(
        self,
        ask: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, E> {
        self.ask_while(|error| error.nobody_listens() || error.broke_off(), ask).await
    }

    async fn ask_while<T, E: Display>(
        self,
        is_unheard: impl Fn(&E) -> bool,
        ask: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, E> {
        let (waiting, mut backoff, mut is_said) = (Stopwatch::start(), Backoff::default(), false);
        loop {
            match ask().await {
                Err(error) if is_unheard(&error) && waiting.elapsed() < self.0 => {
                    if !std::mem::replace(&mut is_said, true) {
                        let patience = humantime::format_duration(self.0);
                        crate::say::say!("howdah: {error}; asking again for {patience}");
                    }
                    backoff.pause().await;
                }
                answer => return answer,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::ErrorKind;

    use super::*;

    fn error(kind: ErrorKind) -> CallError {
        CallError::Connect {
            address: "m:7880".to_owned(),
            cause: kind.to_string(),
            kind: Some(kind),
        }
    }

    #[tokio::test]
    async fn who_restarts_is_waited_for_and_nobody_else() {
        let n_asked = Cell::new(0);
        let answers = |refusals: u32, kind: ErrorKind| {
            n_asked.set(0);
            let n_asked = &n_asked;
            async move || {
                n_asked.set(n_asked.get() + 1);
                if n_asked.get() <= refusals { Err(error(kind)) } else { Ok(7) }
            }
        };
        let patient = Patience(Duration::from_mins(1));
        assert_eq!(patient.ask(answers(2, ErrorKind::ConnectionRefused)).await.unwrap(), 7);
        assert_eq!(n_asked.get(), 3);
        assert_eq!(patient.ask(answers(1, ErrorKind::ConnectionReset)).await.unwrap(), 7);
        assert!(patient.ask(answers(1, ErrorKind::HostUnreachable)).await.is_err());
        assert_eq!(n_asked.get(), 1);
        assert!(Patience::default().ask(answers(1, ErrorKind::ConnectionRefused)).await.is_err());
        assert_eq!(n_asked.get(), 1);
        let broken = || CallError::Broken { address: "m:7880".to_owned(), cause: String::new() };
        let n_asked = Cell::new(0);
        let ask = async || {
            n_asked.set(n_asked.get() + 1);
            if n_asked.get() == 1 { Err(broken()) } else { Ok(7) }
        };
        assert_eq!(patient.look(ask).await.unwrap(), 7, "what changes nothing is asked again");
        n_asked.set(0);
        assert!(patient.ask(ask).await.is_err(), "what may have been done is not done twice");
        let short = Patience(Duration::from_millis(1));
        assert!(short.ask(answers(u32::MAX, ErrorKind::ConnectionRefused)).await.is_err());
    }
}
