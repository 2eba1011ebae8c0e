//! Files that are run and do not say what runs them. The system refuses such a file ("Exec format error"), and as any shell does
//! it is then read as a shell's script: what goes wrong looks like anything but the missing line. So a command that fails is
//! looked at once more here. `child` and `plain` call this.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Bytes that tell what a file is.
const HEAD_BYTES: u64 = 512;
const ELF: &[u8] = b"\x7fELF";
/// Where an ELF file says for which processor it is.
const ELF_MACHINE: std::ops::Range<usize> = 18..20;

/// What is wrong with the file that was run, if its first bytes tell; to be said behind the failure of `shown`.
pub(super) fn complaint(program: &Path, shown: &str) -> Option<String> {
    let mut head = Vec::new();
    File::open(program).ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
    if head.starts_with(b"#!") || head.is_empty() {
        return None;
    }
    if head.starts_with(ELF) {
        let machine = head.get(ELF_MACHINE).map(|it| [it[0], it[1]]);
        // Both orders of bytes: which one it has does not matter here.
        let is_own = machine.is_some_and(|it| own_machine().is_none_or(|own| own == it));
        return (!is_own).then(|| {
            format!(
                "{shown} is a program for another kind of processor than this host's ({}): build it for that",
                std::env::consts::ARCH
            )
        });
    }
    if head.contains(&0) {
        return Some(format!("{shown} is no program that this host can run"));
    }
    let by = by_ending(program);
    Some(format!(
        "{shown} does not say what runs it, so it was run by /bin/sh: begin the file with a line like '#!/usr/bin/env {by}', or \
         write '{by} {shown}' as the command"
    ))
}

/// The interpreter that files of such names are mostly for.
fn by_ending(program: &Path) -> &'static str {
    match program.extension().and_then(|it| it.to_str()) {
        Some("py") => "python3",
        Some("pl") => "perl",
        Some("rb") => "ruby",
        Some("js") => "node",
        Some("R" | "r") => "Rscript",
        _ => "sh",
    }
}

/// What an ELF file of this host says; `None` where that is not known here.
fn own_machine() -> Option<[u8; 2]> {
    let number: u16 = match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        _ => return None,
    };
    Some(number.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_no_interpreter_is_told_with_the_one_that_it_is_for() {
        let folder = tempfile::tempdir().unwrap();
        let said = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            complaint(&path, &format!("./{name}")).unwrap_or_default()
        };
        let python = said("m.py", b"import sys\n");
        assert!(python.contains("#!/usr/bin/env python3"), "{python}");
        assert!(python.contains("'python3 ./m.py'"), "{python}");
        assert!(said("m", b"while read x; do :; done\n").contains("'sh ./m'"));
        assert!(said("blob", b"a\0b").contains("no program"));
        let mut other = [0; 64];
        other[..4].copy_from_slice(ELF);
        other[18] = 0xf7;
        assert!(said("sparc", &other).contains("another kind of processor"));
        for fine in [&b"#!/bin/sh\n"[..], b""] {
            assert_eq!(said("fine", fine), "");
        }
        let own = std::env::current_exe().unwrap();
        assert_eq!(complaint(&own, "own"), None);
        assert_eq!(complaint(&folder.path().join("none"), "none"), None);
    }
}
