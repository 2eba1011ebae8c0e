//! Framing of the channel to a task process: `length: u32 LE, JSON`. What the messages mean is not known
//! here; `attempt` reads and writes them.

use mapreduce_protocol::MESSAGE_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Why a channel can't be used any further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The other end is gone, or the socket failed.
    #[error("the channel to the task broke off: {0}")]
    Io(#[from] std::io::Error),
    /// A message longer than the limit.
    #[error("a message of {length} bytes on the task's channel: at most {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// A message that this version does not understand.
    #[error("the task said something that this version does not understand: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Reads one message; `None` when the other end has closed between two messages.
pub(crate) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, ChannelError> {
    let mut length = [0; 4];
    if from.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..]).await?;
    let length = u32::from_le_bytes(length);
    if length > MESSAGE_BYTES_MAX {
        return Err(ChannelError::TooLong { length: length as usize });
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body).await?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Writes one message.
pub(crate) async fn write<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), ChannelError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    let prefix = u32::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let prefix = prefix.ok_or(ChannelError::TooLong { length })?;
    frame[..4].copy_from_slice(&prefix.to_le_bytes());
    to.write_all(&frame).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_arrive_whole_and_what_is_not_one_is_refused() {
        let mut wire = Vec::new();
        write(&mut wire, &"a").await.unwrap();
        write(&mut wire, &"b").await.unwrap();
        assert_eq!(&wire[..7], b"\x03\0\0\0\"a\"");
        let mut from = &wire[..];
        assert_eq!(read::<String>(&mut from).await.unwrap().as_deref(), Some("a"));
        assert_eq!(read::<String>(&mut from).await.unwrap().as_deref(), Some("b"));
        assert!(read::<String>(&mut from).await.unwrap().is_none());
        assert!(matches!(read::<String>(&mut &wire[..5]).await, Err(ChannelError::Io(_))));
        let malformed = read::<u32>(&mut &wire[..]).await;
        assert!(matches!(malformed, Err(ChannelError::Malformed(_))));
        let long = read::<u32>(&mut &b"\xff\xff\xff\xff"[..]).await;
        assert!(matches!(long, Err(ChannelError::TooLong { .. })));
    }
}
