//! Long answers in parts: the core produces listings and locations in steps, between which other
//! requests have their turn, even on the same thread. A change between two steps is seen either
//! before or after it.

use std::sync::Arc;

use chunkstore_core::master::{Query, Reply};
use chunkstore_protocol::{
    Counted, LOCATE_CHUNKS_MAX, LOCATE_PATHS_MAX, List, Listing, Locate, Located, PathLocation,
    ProblemKind, StorePath,
};
use net::{Caller, Problem};
use tokio::task::yield_now;

use super::ServerState;
use super::error::{invalid, unexpected};
use super::rights::may_look;

/// One page, as long as requested.
pub(super) async fn list(state: &ServerState, request: List) -> Result<Listing, Problem> {
    let mut page = one_list(state, request.clone()).await?;
    let limit = request.limit as usize;
    while page.entries.len() < limit && page.next.is_some() {
        let left = u32::try_from(limit - page.entries.len()).unwrap_or(request.limit);
        let next = List { after: page.next.take(), limit: left, ..request.clone() };
        yield_now().await;
        let more = one_list(state, next).await?;
        page.entries.extend(more.entries);
        page.next = more.next;
    }
    Ok(page)
}

/// All chunks of the range, up to the bound.
pub(super) async fn locate(state: &ServerState, request: Locate) -> Result<Located, Problem> {
    let end = request.length.map_or(u64::MAX, |length| request.offset.saturating_add(length));
    let mut located = one_locate(state, request.clone()).await?;
    while let Some(last) = located.chunks.last()
        && located.chunks.len() < LOCATE_CHUNKS_MAX
        && last.offset + last.length < end.min(located.length)
    {
        let offset = last.offset + last.length;
        let next = Locate { offset, length: Some(end - offset), ..request.clone() };
        yield_now().await;
        let more = one_locate(state, next).await?;
        // Another file took the path: the part so far is correct in itself, and the reader will ask
        // again.
        if more.length != located.length || more.chunks.is_empty() {
            break;
        }
        located.chunks.extend(more.chunks);
    }
    located.chunks.truncate(LOCATE_CHUNKS_MAX);
    Ok(located)
}

/// The locations of each of these files, or what is wrong with it.
pub(super) async fn locate_many(
    state: &ServerState,
    caller: &Caller,
    paths: Vec<StorePath>,
) -> Result<Vec<PathLocation>, Problem> {
    if paths.len() > LOCATE_PATHS_MAX {
        let detail =
            format!("{} paths are too many: at most {LOCATE_PATHS_MAX} at once", paths.len());
        return Err(invalid(detail));
    }
    let forbidden: Vec<_> = paths.iter().map(|path| may_look(caller, path).err()).collect();
    let permitted = paths.into_iter().zip(&forbidden).filter(|(_, forbidden)| forbidden.is_none());
    let permitted: Arc<[_]> = permitted.map(|(path, _)| path).collect();
    let mut located = Vec::with_capacity(permitted.len());
    while located.len() < permitted.len() {
        let step = Query::LocateMany { paths: Arc::clone(&permitted), from: located.len() };
        match state.query(step).await? {
            Reply::LocatedMany(files) => located.extend(files),
            other => return Err(unexpected(&other)),
        }
        yield_now().await;
    }
    let mut located = located.into_iter();
    let files = forbidden.into_iter().filter_map(|forbidden| match forbidden {
        Some(problem) => {
            Some(PathLocation::Refused { kind: ProblemKind::Forbidden, detail: problem.detail })
        }
        None => located.next().map(|located| match located {
            Ok(located) => PathLocation::Located(located),
            Err(error) => PathLocation::Refused { kind: error.kind(), detail: error.to_string() },
        }),
    });
    Ok(files.collect())
}

/// Counts everything at and below a path.
pub(super) async fn count(state: &ServerState, path: StorePath) -> Result<Counted, Problem> {
    let mut counted = Counted::default();
    let mut after = None;
    loop {
        let reply = state.query(Query::Count { path: path.clone(), after }).await?;
        let Reply::Counted(part) = reply else { return Err(unexpected(&reply)) };
        counted += part.counted;
        match part.next {
            Some(next) => after = Some(next),
            None => return Ok(counted),
        }
        yield_now().await;
    }
}

async fn one_list(state: &ServerState, request: List) -> Result<Listing, Problem> {
    match state.query(Query::List(request)).await? {
        Reply::Listing(listing) => Ok(listing),
        other => Err(unexpected(&other)),
    }
}

async fn one_locate(state: &ServerState, request: Locate) -> Result<Located, Problem> {
    match state.query(Query::Locate(request)).await? {
        Reply::Located(located) => Ok(located),
        other => Err(unexpected(&other)),
    }
}
