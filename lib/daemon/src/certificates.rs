//! The TLS files while a daemon runs: they are checked every few seconds, and reloaded when they
//! have changed, so that a certificate is renewed without a restart. If they can't be used, this is
//! logged once for each edit, and the previous ones stay in use.

use std::time::Duration;

use ::metrics::{counter, gauge};
use net::tls::Remaining;
use net::{Tls, TlsFiles};

use crate::FileStamp;

/// Time between two checks of the files.
const INTERVAL: Duration = Duration::from_secs(5);

/// Checks the files again and again; never ends.
pub async fn follow_certificates(tls: Tls) {
    let Some(mut follower) = Follower::of(tls) else { return };
    loop {
        // On a blocking thread, as their disk may hang.
        let look = tokio::task::spawn_blocking(move || {
            follower.look();
            follower
        });
        match look.await {
            Ok(looked) => follower = looked,
            Err(error) => {
                tracing::error!(%error, "the files of TLS are not looked at any more: restart to have them read again");
                return;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

struct Follower {
    tls: Tls,
    files: TlsFiles,
    /// Their stamps when last read; `None` before the first check, as they may have changed since
    /// the start read them.
    stamps: Option<[Option<FileStamp>; 3]>,
    is_wrong: bool,
}

impl Follower {
    fn of(tls: Tls) -> Option<Self> {
        let files = tls.files()?.clone();
        Some(Self { tls, files, stamps: None, is_wrong: false })
    }

    fn look(&mut self) {
        // Stamps are taken first, so that an edit in between is seen at the next check.
        let stamps = Some(stamps_of(&self.files));
        if stamps != self.stamps {
            let is_first = self.stamps.is_none();
            self.stamps = stamps;
            self.take_in(is_first);
        }
        gauge!("howdah_tls_files_wrong").set(f64::from(u8::from(self.is_wrong)));
        let Remaining { authority, own } = self.tls.remaining();
        for (file, left) in [("ca", Some(authority)), ("cert", own)] {
            if let Some(left) = left {
                gauge!("howdah_tls_certificate_remaining_seconds", "file" => file).set(left as f64);
            }
        }
    }

    fn take_in(&mut self, is_first: bool) {
        let read = self.tls.reload();
        self.is_wrong = read.is_err();
        let outcome = match read {
            Ok(()) if is_first => return,
            Ok(()) => {
                let certificate = self.tls.own_certificate().map(|it| it.to_string());
                tracing::info!(
                    certificate,
                    "took in the changed files of TLS: they count for new connections"
                );
                "taken"
            }
            Err(error) => {
                tracing::error!(%error, "the changed files of TLS can't be used: what was read before stays; mend them");
                "refused"
            }
        };
        counter!("howdah_tls_reloads_total", "outcome" => outcome).increment(1);
    }
}

fn stamps_of(files: &TlsFiles) -> [Option<FileStamp>; 3] {
    let own = files.own.as_ref();
    let paths =
        [Some(files.ca.as_path()), own.map(|it| it.cert.as_path()), own.map(|it| it.key.as_path())];
    paths.map(|path| path.and_then(FileStamp::of))
}
