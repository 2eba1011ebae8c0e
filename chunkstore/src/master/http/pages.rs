//! Long answers in parts: the core gives listings and locations in steps, and between two of them others
//! have their turn. What changes between two steps is seen in one of its states.

use chunkstore_core::master::{Query, Reply};
use chunkstore_protocol::{LOCATE_CHUNKS_MAX, List, Listing, Locate, Located};
use net::Problem;

use super::ServerState;
use super::error::unexpected;

/// One page, as long as asked for.
pub(super) async fn list(state: &ServerState, request: List) -> Result<Listing, Problem> {
    let mut page = one_list(state, request.clone()).await?;
    let limit = request.limit as usize;
    while page.entries.len() < limit && page.next.is_some() {
        let left = u32::try_from(limit - page.entries.len()).unwrap_or(request.limit);
        let next = List { after: page.next.take(), limit: left, ..request.clone() };
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
        let more = one_locate(state, next).await?;
        // Another file took the path: the part so far is right in itself, and the reader asks on.
        if more.length != located.length || more.chunks.is_empty() {
            break;
        }
        located.chunks.extend(more.chunks);
    }
    located.chunks.truncate(LOCATE_CHUNKS_MAX);
    Ok(located)
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
