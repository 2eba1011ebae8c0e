//! Room for much that is written once from its beginning on: the pages of the sort buffer, and of what a reduce fetches.
//! A page that is touched first is asked of the kernel and cleared, which for pages of 4 KiB takes longer than what is
//! then written there; so huge ones are asked for, where the system gives them to who asks (`madvise`, as most do).

/// Less than this is not worth a call.
const BYTES_MIN: usize = 4 << 20;

/// A huge page of x86-64 and of most others.
const HUGE_BYTES: usize = 2 << 20;

/// An empty vector with room for `n`, in huge pages if it is much. Only what is written takes memory.
pub(crate) fn reserve<T>(n: usize) -> Vec<T> {
    let room: Vec<T> = Vec::with_capacity(n);
    let bytes = room.capacity() * size_of::<T>();
    if bytes >= BYTES_MIN {
        advise(room.as_ptr().addr(), bytes);
    }
    room
}

/// Asks for huge pages where whole ones fit, but not for the beginning: where little is written, a whole one would be
/// cleared for it. What can't be had is done without.
fn advise(start: usize, bytes: usize) {
    let (first, end) = (
        start.next_multiple_of(HUGE_BYTES) + HUGE_BYTES,
        (start + bytes) / HUGE_BYTES * HUGE_BYTES,
    );
    if first < end {
        // SAFETY: the advice changes no byte of the range, which lies in memory of the caller's own.
        unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_empty_and_holds_what_is_written() {
        for n in [0, 1, 1000, 9 << 20] {
            let mut room: Vec<u64> = reserve(n);
            let place = room.as_ptr();
            assert!(room.is_empty() && room.capacity() >= n);
            room.extend((0..n.min(1 << 20) as u64).rev());
            assert!(room.iter().rev().copied().eq(0..n.min(1 << 20) as u64), "{n}");
            assert_eq!(room.as_ptr(), place, "it never moves");
        }
    }
}
