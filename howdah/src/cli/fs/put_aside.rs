//! An output whose place a new job's is to take (`job submit --overwrite`): a hidden folder beside it while the job is being
//! accepted, and in the trash afterwards. It goes back where the job is refused.

use anyhow::{Context as _, anyhow};
use chunkstore_client::StoreError;
use chunkstore_client::stores::StoreUrl;
use chunkstore_protocol::StorePath;
use net::CallError;

use super::remove::Trash;
use super::shown;
use crate::exit::{Interrupted, OrEarly as _, early};
use crate::job_file::JobFile;
use crate::say::{plain, say};
use crate::session::Session;

/// See the module.
pub(in crate::cli) struct PutAside {
    moved: Option<Moved>,
}

struct Moved {
    output: StorePath,
    aside: StorePath,
}

impl PutAside {
    /// Moves what stands at the job's output aside, if anything does.
    pub(in crate::cli) async fn of(session: &Session, job: &JobFile) -> anyhow::Result<Self> {
        let output = &job.spec.output;
        if ids::names_another_store(output) {
            return Err(early(anyhow!(
                "--overwrite: {output} is in another store, which has no trash: remove it by `howdah fs rm -r {output}`"
            )));
        }
        let output: StorePath = StoreUrl::without_own_scheme(output).parse().or_early()?;
        // Nothing is moved for somebody who is not there.
        session.jobs().is_there().await?;
        let store = session.store().await?;
        let (Some(folder), Some(name)) = (output.parent(), output.name()) else {
            return Ok(Self { moved: None });
        };
        let aside = folder.join(&format!(".{name}.replaced-{}", net::random_hex(4))).or_early()?;
        match store.rename(&output, &aside).await {
            Ok(()) => Ok(Self { moved: Some(Moved { output, aside }) }),
            Err(StoreError::NotFound { .. }) => Ok(Self { moved: None }),
            Err(error) => Err(error).with_context(|| format!("cannot move {output} aside")),
        }
    }

    /// The job was accepted, refused, or nobody knows.
    pub(in crate::cli) async fn resolve<T>(
        self,
        session: &Session,
        submitted: &anyhow::Result<T>,
    ) -> anyhow::Result<()> {
        let Some(Moved { output, aside }) = self.moved else { return Ok(()) };
        let store = session.store().await?;
        match submitted {
            Ok(_) => {
                let mut trash = Trash::new(&store).await?;
                let removed = store.delete(&aside, true).await;
                removed.with_context(|| format!("cannot remove the former output, {aside}"))?;
                let (shown, word) = (shown::path(&output), shown::word(&output));
                let words = |there: &str| {
                    format!(
                        "the former {shown} is in the trash: `howdah fs mv {there} {word}` brings it back, once nothing else \
                         stands at {shown}"
                    )
                };
                trash.tell_where(&aside, words).await?;
            }
            Err(error) if is_undecided(error) => {
                let (output, aside) = (plain(output.as_str()), plain(aside.as_str()));
                say!(
                    "howdah: the former output is {aside}: if the job was not accepted, `howdah fs mv {aside} {output}` \
                     brings it back"
                );
            }
            Err(_) => {
                let back = store.rename(&aside, &output).await;
                back.with_context(|| format!("cannot bring the former output back from {aside}"))?;
            }
        }
        Ok(())
    }
}

/// Whether a job may have been accepted all the same.
fn is_undecided(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Interrupted>()
            || matches!(
                cause.downcast_ref(),
                Some(CallError::TimedOut { .. } | CallError::Broken { .. })
            )
    })
}
