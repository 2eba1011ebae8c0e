//! `rm` and `mv`. Objects have no trash: what is removed is gone.

use anyhow::{Context as _, anyhow};
use chunkstore_client::stores::StoreUrl;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use serde_json::json;

use super::super::place::{Place, Places, UrlPattern};
use super::super::remove::RmArgs;
use super::{Meant, Standing, expand, matches, name_of, stores};
use crate::cli::Format;
use crate::copy;
use crate::exit::{OrEarly as _, early};
use crate::failures::Failures;
use crate::session::Session;

/// Objects moved at once.
const MOVES_AT_ONCE: usize = 16;

pub(in super::super) async fn rm(
    session: &Session,
    patterns: &[UrlPattern],
    args: &RmArgs,
    format: Format,
) -> anyhow::Result<()> {
    let (mut told, mut failures) = (Vec::new(), Failures::default());
    let all = match args.force {
        true => expand_what_is(session, patterns).await?,
        false => expand(session, patterns, &mut failures).await?,
    };
    all.iter().try_for_each(|meant| refuse_whole(&meant.url))?;
    for meant in all {
        let removed = failures.take(rm_one(&meant, args).await)?;
        let path = meant.url.to_string();
        told.extend(removed.filter(|was_there| *was_there).map(|_| json!({"path": path})));
    }
    format.print(&json!({"removed": told}))?;
    failures.end()
}

/// Whether there was anything.
async fn rm_one(meant: &Meant, args: &RmArgs) -> anyhow::Result<bool> {
    let objects = match (meant.look().await?, args.recursive) {
        (None, _) if args.force => return Ok(false),
        (None, _) => return Err(anyhow!("{} does not exist", meant.url)),
        (Some(Standing::Object(meta)), _) => vec![meta],
        (Some(Standing::Folder(below)), true) => below,
        (Some(Standing::Folder(_)), false) => {
            let url = &meant.url;
            return Err(anyhow!("{url} is a folder: add -r to remove it with what is in it"));
        }
    };
    remove(meant, objects).await.map(|()| true)
}

/// As `/` of the chunk store.
fn refuse_whole(url: &StoreUrl) -> anyhow::Result<()> {
    match url.path().as_ref().is_empty() {
        true => Err(early(anyhow!(
            "{url} is a whole store, which can't be removed or moved: name something in it"
        ))),
        false => Ok(()),
    }
}

/// Without those patterns that match nothing.
async fn expand_what_is(session: &Session, patterns: &[UrlPattern]) -> anyhow::Result<Vec<Meant>> {
    let stores = stores(session, patterns)?;
    let mut all = Vec::new();
    for pattern in patterns {
        let store = stores.open(&pattern.url).or_early()?;
        let urls = match pattern.is_pattern() {
            true => matches(&store, pattern).await?,
            false => vec![pattern.url.clone()],
        };
        all.extend(urls.into_iter().map(|url| Meant { store: store.clone(), url }));
    }
    Ok(all)
}

async fn remove(meant: &Meant, objects: Vec<ObjectMeta>) -> anyhow::Result<()> {
    let locations = stream::iter(objects).map(|meta| Ok(meta.location)).boxed();
    let removed = meant.store.objects().delete_stream(locations);
    let removed = removed.try_for_each(|_| std::future::ready(Ok(()))).await;
    removed.with_context(|| format!("cannot remove {}", meant.url))
}

/// Within one store: each object is copied by the store and then removed, so a folder moves in many steps.
pub(in super::super) async fn mv(
    session: &Session,
    from: &[String],
    to: &str,
    force: bool,
    format: Format,
) -> anyhow::Result<()> {
    let usage = "`howdah fs mv` works within one store: copy with `howdah fs cp -r`, then `howdah fs rm -r`";
    let (Places::Urls(patterns), Ok(to)) = (Place::all(from)?, to.parse::<UrlPattern>()) else {
        return Err(early(anyhow!(usage)));
    };
    if patterns.iter().any(|pattern| !pattern.url.is_beside(&to.url)) {
        return Err(early(anyhow!(usage)));
    }
    let mut failures = Failures::default();
    let all = expand(session, &patterns, &mut failures).await?;
    all.iter().try_for_each(|meant| refuse_whole(&meant.url))?;
    let Some(first) = all.first() else { return failures.end() };
    let target = Meant { store: first.store.clone(), url: to.url };
    let stands = target.look().await?;
    let into_folder = target.url.is_folder() || matches!(stands, Some(Standing::Folder(_)));
    if all.len().max(patterns.len()) > 1 && !into_folder {
        let to = &target.url;
        return Err(anyhow!("{to} is no folder: add a slash to have several things there"));
    }
    let target_of = |meant: &Meant| match into_folder {
        true => below(target.url.path(), name_of(&meant.url)),
        false => Ok(target.url.path().clone()),
    };
    let paths = all.iter().map(target_of).collect::<anyhow::Result<Vec<_>>>()?;
    copy::refuse_clashes(paths.iter().map(|path| target.url.with_path(path.clone())))?;
    let mut told = Vec::new();
    for (meant, path) in all.iter().zip(&paths) {
        let moved = failures.take(move_to(meant, path, force).await)?;
        let (from, to) = (meant.url.to_string(), target.url.with_path(path.clone()).to_string());
        told.extend(moved.map(|()| json!({"from": from, "to": to})));
    }
    format.print(&json!({"moved": told}))?;
    failures.end()
}

fn below(folder: &Path, name: &str) -> anyhow::Result<Path> {
    Ok(Path::parse(format!("{folder}/{name}").trim_start_matches('/'))?)
}

async fn move_to(meant: &Meant, to: &Path, force: bool) -> anyhow::Result<()> {
    let target = meant.url.with_path(to.clone());
    let moving = || format!("cannot move {} to {target}", meant.url);
    if to.prefix_matches(meant.url.path()) {
        return Err(anyhow!("it lies in what is moved: name another target")).with_context(moving);
    }
    let pairs = match meant.standing().await? {
        Standing::Object(meta) => vec![(meta.location, to.clone())],
        Standing::Folder(objects) => {
            let from = meant.url.path().as_ref();
            let pair = |meta: ObjectMeta| {
                let rest = meta.location.as_ref().strip_prefix(from).unwrap_or_default();
                let to = below(to, rest.trim_start_matches('/'))?;
                Ok((meta.location, to))
            };
            objects.into_iter().map(pair).collect::<anyhow::Result<Vec<_>>>()?
        }
    };
    let objects = meant.store.objects();
    let moves = stream::iter(pairs).map(|(from, to)| async move {
        if !force {
            match objects.head(&to).await {
                Ok(_) => return Err(anyhow!("{to} exists: add -f to replace it")),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(objects.rename(&from, &to).await?)
    });
    let moved: anyhow::Result<()> = moves.buffer_unordered(MOVES_AT_ONCE).try_collect().await;
    moved.with_context(moving)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_store_is_removed_whole() {
        let refused = |url: &str| refuse_whole(&url.parse().unwrap()).map_err(|e| e.to_string());
        for root in ["file:///", "s3://bucket", "s3://bucket/"] {
            assert!(refused(root).unwrap_err().contains("name something in it"), "{root}");
        }
        for part in ["file:///tmp", "s3://bucket/a/"] {
            assert_eq!(refused(part), Ok(()), "{part}");
        }
    }
}
