//! The task's end of the channel to its TaskTracker: an inherited Unix socket with framed JSON messages
//! (`mapreduce_protocol::channel`). A thread of its own reads, so that a closed channel ends the process
//! whatever else it does.

use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use mapreduce_protocol::{
    AttemptId, AttemptResult, Failure, FromTask, MESSAGE_BYTES_MAX, MapEvent, TaskDescription,
    ToTask, status_line,
};
use tokio::sync::mpsc;

/// Batches of map events that wait for the fetcher.
const EVENTS_QUEUED: usize = 256;

/// Exit status when the tracker is gone: nobody reads it.
const TRACKER_GONE: i32 = 1;

/// Speaks to the tracker, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    stream: Arc<Mutex<UnixStream>>,
    /// What the task does, if that is not told yet.
    status: Arc<Mutex<Option<String>>>,
}

/// Takes over the inherited descriptor and reads the description.
pub(crate) fn open(
    channel_fd: i32,
) -> io::Result<(Channel, TaskDescription, mpsc::Receiver<Vec<MapEvent>>)> {
    if channel_fd <= 2 {
        let message = format!("{channel_fd} is not the descriptor of a channel");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    // SAFETY: the borrow ends with the next call, which answers EBADF if the descriptor is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(channel_fd) };
    // It came through an exec; what this process starts has no business with it.
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as checked above; the tracker passed it for this use alone, nothing else in
    // the process owns it, and this is called once.
    let descriptor = unsafe { OwnedFd::from_raw_fd(channel_fd) };
    attach(UnixStream::from(descriptor))
}

fn attach(
    stream: UnixStream,
) -> io::Result<(Channel, TaskDescription, mpsc::Receiver<Vec<MapEvent>>)> {
    let mut reader = stream.try_clone()?;
    let description = match read_message(&mut reader)? {
        Some(ToTask::Describe(description)) => *description,
        Some(ToTask::MapEvents { .. }) | None => {
            let message = "the channel does not begin with the task's description";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    };
    let (events, received) = mpsc::channel(EVENTS_QUEUED);
    std::thread::Builder::new().name("channel".to_owned()).spawn(move || {
        listen(reader, &events);
        std::process::exit(TRACKER_GONE);
    })?;
    Ok((Channel::on(stream), description, received))
}

/// Passes map events on until the channel closes.
fn listen(mut reader: impl Read, events: &mpsc::Sender<Vec<MapEvent>>) {
    loop {
        match read_message(&mut reader) {
            // Who has fetched all does not listen any more.
            Ok(Some(ToTask::MapEvents { events: news })) => drop(events.blocking_send(news)),
            Ok(Some(ToTask::Describe(_)) | None) => return,
            Err(error) => {
                eprintln!("the channel to the TaskTracker broke: {error}");
                return;
            }
        }
    }
}

fn read_message(reader: &mut impl Read) -> io::Result<Option<ToTask>> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length);
    if length > MESSAGE_BYTES_MAX {
        let message =
            format!("a message of {length} bytes; at most {MESSAGE_BYTES_MAX} are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut json = vec![0; length as usize];
    reader.read_exact(&mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}

impl Channel {
    /// Speaks on `stream`.
    pub(crate) fn on(stream: UnixStream) -> Self {
        Self { stream: Arc::new(Mutex::new(stream)), status: Arc::default() }
    }

    /// How far the task is, 0 to 1.
    pub(crate) fn progress(&self, progress: f32) {
        self.tell_status();
        self.say(&FromTask::Progress { progress });
    }

    /// What the task does: to be told with its next sign of life.
    pub(crate) fn note_status(&self, text: &str) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status_line(text));
    }

    fn tell_status(&self) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(status) = status {
            self.say(&FromTask::Status { status });
        }
    }

    /// A map output does not come.
    pub(crate) fn fetch_failed(&self, map: AttemptId, message: String) {
        self.say(&FromTask::FetchFailed { map, message });
    }

    /// The last word of an attempt.
    pub(crate) fn end(&self, outcome: Result<AttemptResult, Failure>) {
        self.tell_status();
        self.say(&match outcome {
            Ok(result) => FromTask::Succeeded { result },
            Err(failure) => FromTask::Failed { failure },
        });
    }

    /// A tracker that can't be told is gone: the reading thread sees it and ends the process.
    fn say(&self, message: &FromTask) {
        let Ok(json) = serde_json::to_vec(message) else { return };
        let Ok(length) = u32::try_from(json.len()) else { return };
        let frame = [&length.to_le_bytes()[..], &json].concat();
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = stream.write_all(&frame) {
            eprintln!("the TaskTracker can't be told: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &ToTask) -> Vec<u8> {
        let json = serde_json::to_vec(message).unwrap();
        [&(json.len() as u32).to_le_bytes()[..], &json].concat()
    }

    #[test]
    fn messages_are_read_until_the_channel_closes() {
        let news = ToTask::MapEvents { events: vec![] };
        let bytes = [framed(&news), framed(&news)].concat();
        let mut reader = &bytes[..];
        assert_eq!(read_message(&mut reader).unwrap(), Some(news.clone()));
        assert_eq!(read_message(&mut reader).unwrap(), Some(news));
        assert_eq!(read_message(&mut reader).unwrap(), None);
    }

    #[test]
    fn torn_oversized_and_garbled_messages_are_errors() {
        let whole = framed(&ToTask::MapEvents { events: vec![] });
        assert!(read_message(&mut &whole[..whole.len() - 1]).is_err());
        assert!(read_message(&mut &u32::MAX.to_le_bytes()[..]).is_err());
        assert!(read_message(&mut &b"\x02\0\0\0??"[..]).is_err());
    }
}
