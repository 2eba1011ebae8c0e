//! `--watch`: the same question again and again.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use chunkstore_client::StoreError;
use clap::Args;
use net::CallError;

use super::shown;
use crate::exit::sentence;
use crate::say::{on_told, say};

/// Puts the cursor into the first corner of a terminal, and clears what follows (ECMA-48: CUP, ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Whether to ask again.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Watch {
    /// Show it again every SECONDS, 2 if left out, until Ctrl-C, or the end of the job that it is about
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    watch: Option<u32>,
}

/// What one answer shows.
pub(super) struct Frame {
    /// As it is printed, its last line too.
    pub(super) text: String,
    /// Whether another one would show the same.
    pub(super) is_last: bool,
}

impl Watch {
    /// Shows what `look` gives, once, or again and again. Who does not answer for a while is asked on.
    ///
    /// # Errors
    /// What the first look says, or a later one for good.
    pub(super) async fn show(
        self,
        look: impl AsyncFnMut() -> anyhow::Result<Frame>,
    ) -> anyhow::Result<()> {
        show_every(self.watch.map(|seconds| Duration::from_secs(seconds.into())), look).await
    }
}

async fn show_every(
    pause: Option<Duration>,
    mut look: impl AsyncFnMut() -> anyhow::Result<Frame>,
) -> anyhow::Result<()> {
    let mut frame = look().await?;
    let Some(pause) = pause else {
        tell(&frame.text);
        return Ok(());
    };
    let on_terminal = io::stdout().is_terminal();
    loop {
        tell(&framed(&frame.text, pause, on_terminal));
        if frame.is_last {
            return Ok(());
        }
        frame = loop {
            tokio::time::sleep(pause).await;
            match look().await {
                Ok(frame) => break frame,
                Err(error) if may_pass(&error) => say!("howdah: {}", sentence(&error)),
                Err(error) => return Err(error),
            }
        };
    }
}

/// On a terminal it takes the place of the one before; elsewhere it stands behind that, as it is.
fn framed(text: &str, pause: Duration, on_terminal: bool) -> String {
    match on_terminal {
        true => {
            let (now, pause) = (shown::time(clock::wall()), pause.as_secs());
            format!("{CLEAR}{now}, every {pause} s\n\n{text}")
        }
        false => text.to_owned(),
    }
}

/// Ends with whoever read it: nobody else would stop it.
fn tell(text: &str) {
    let mut out = io::stdout().lock();
    on_told(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let is_away = cause.downcast_ref().is_some_and(CallError::is_transient);
        is_away || cause.downcast_ref().is_some_and(StoreError::is_transient)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> anyhow::Error {
        CallError::TimedOut { address: "m:7880".to_owned() }.into()
    }

    async fn looks(again: bool, answers: Vec<anyhow::Result<bool>>) -> (usize, bool) {
        let (mut answers, mut n_looks) = (answers.into_iter(), 0);
        let look = async || {
            n_looks += 1;
            let is_last = answers.next().expect("nobody asks after the last")?;
            Ok(Frame { text: String::new(), is_last })
        };
        let is_well = show_every(again.then_some(Duration::ZERO), look).await.is_ok();
        (n_looks, is_well)
    }

    #[tokio::test]
    async fn it_is_asked_until_the_last_answer_and_on_while_somebody_is_away() {
        assert_eq!(looks(false, vec![Ok(false)]).await, (1, true));
        assert_eq!(looks(false, vec![Err(away())]).await, (1, false), "nobody was there at all");
        assert_eq!(looks(true, vec![Ok(false), Ok(false), Ok(true)]).await, (3, true));
        let away_twice = vec![Ok(false), Err(away()), Err(away()), Ok(true)];
        assert_eq!(looks(true, away_twice).await, (4, true));
        let gone = anyhow::anyhow!("there is no such job");
        assert_eq!(looks(true, vec![Ok(false), Err(gone)]).await, (2, false));
    }

    #[test]
    fn on_a_terminal_an_answer_takes_the_place_of_the_one_before() {
        let pause = Duration::from_secs(5);
        assert_eq!(framed("a\n", pause, false), "a\n");
        let shown = framed("a\n", pause, true);
        assert!(shown.starts_with(CLEAR) && shown.ends_with(", every 5 s\n\na\n"), "{shown:?}");
    }
}
