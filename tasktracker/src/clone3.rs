//! `clone3` as `vfork` does it, for a child that is born in a cgroup of version 2. A child that joins such a group by itself
//! has the kernel lock out the forks and exits of all processes, for which it waits 10 ms and more. The C library has no
//! function for this, so the call is written down here for x86-64 alone; elsewhere the child joins. Called by `vfork`.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Of the C calling convention.
pub(crate) type Run = extern "C" fn(*mut c_void) -> c_int;

/// `clone_args`, as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts a child in the group with the open folder `group`, which calls `run` with `argument` on the stack that ends at
/// `stack_end`. The calling thread stands still until the child has called exec or ended. The child's id, or `None` if the
/// system makes none there.
///
/// # Safety
/// `run` never returns, and does what a child of `vfork` may do. There are `stack_bytes` of memory before `stack_end`, which
/// is aligned to 16 bytes.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn born_in(
    group: BorrowedFd<'_>,
    (stack_end, stack_bytes): (*mut c_void, usize),
    run: Run,
    argument: *mut c_void,
) -> Option<c_int> {
    let number = |bits: c_int| u64::from(bits.cast_unsigned());
    let arguments = Arguments {
        flags: number(libc::CLONE_VM | libc::CLONE_VFORK) | CLONE_INTO_CGROUP,
        exit_signal: number(libc::SIGCHLD),
        stack: stack_end.addr() as u64 - stack_bytes as u64,
        stack_size: stack_bytes as u64,
        cgroup: number(group.as_raw_fd()),
        ..Arguments::default()
    };
    let pid: i64;
    // SAFETY: the call changes `rax`, `rcx` and `r11` alone. The parent goes on behind it with its own registers and stack; the
    // child has another stack, which is aligned as a function expects it, and does not come back.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => pid,
            in("rdi") &raw const arguments,
            in("rsi") size_of::<Arguments>(),
            in("r12") argument,
            in("r13") run,
            out("rcx") _,
            out("r11") _,
        );
    }
    c_int::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// As above, where the call is not written down.
///
/// # Safety
/// None is needed: it starts nothing.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn born_in(
    _group: BorrowedFd<'_>,
    _stack: (*mut c_void, usize),
    _run: Run,
    _argument: *mut c_void,
) -> Option<c_int> {
    None
}
