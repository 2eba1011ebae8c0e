//! Real children: shells and what they start.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use super::*;
use crate::cgroup::{Cgroups, Controller};

const LIMITS: Limits = Limits { memory: 64 << 20, processes: 32, disk: 1 << 20, open_files: 300 };

fn shell(script: &str, folder: &Path) -> Executable {
    Executable {
        path: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        folder: folder.to_owned(),
        environment: vec![("HOWDAH_JOB_ID", "job_20261122_0001".to_owned())],
        group: None,
        limits: LIMITS,
        uid: None,
        disk: None,
        confinement: None,
    }
}

/// Everything written to the log: returns when all processes that hold it are gone.
async fn log_to_its_end(mut log: io::PipeReader) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    });
    tokio::time::timeout(std::time::Duration::from_secs(20), read).await.unwrap().unwrap()
}

fn first_line(log: &mut io::PipeReader) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while log.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn a_start_that_fails_says_at_what() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let gone = folder.path().join("gone");
    let fails = [
        (Executable { path: gone.clone(), ..shell("", folder.path()) }, Step::Program),
        (shell("", &gone), Step::Process),
        (
            Executable {
                confinement: Some(Arc::new(Confinement::broken())),
                ..shell("", folder.path())
            },
            Step::Walls,
        ),
    ];
    for (executable, step) in fails {
        let error = spawner.spawn(executable).await.unwrap_err();
        assert_eq!(error.step, step, "{error}");
    }
}

/// A pipe that takes no more: who writes to it hangs, as in a disk, until it is emptied.
fn full_pipe() -> (io::PipeReader, std::fs::File) {
    let (reader, writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
    while rustix::io::write(&writer, &[0]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, std::os::fd::OwnedFd::from(writer).into())
}

#[tokio::test]
async fn a_child_that_hangs_on_one_disk_keeps_none_on_another_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let (mut reader, hangs) = full_pipe();
    let on = |disk, group| Executable {
        disk: Some(DiskNumber(disk)),
        group,
        ..shell("echo hello", folder.path())
    };
    let (first, group) = (spawner.clone(), Some(Group::joined_by(hangs)));
    let hanging = on(0, group);
    let hanging = tokio::spawn(async move { first.spawn(hanging).await });
    // Its turn comes first: what has to wait behind it does.
    for _ in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let patience = std::time::Duration::from_secs(20);
    let other = tokio::time::timeout(patience, spawner.spawn(on(1, None))).await;
    let other = other.expect("it has a thread of its own").unwrap();
    assert_eq!(log_to_its_end(other.log).await, "hello\n");
    assert!(other.exit.await.unwrap().success());
    assert!(!hanging.is_finished());
    reader.read_exact(&mut vec![0; 65_000]).unwrap();
    let hung = hanging.await.unwrap().unwrap();
    assert!(hung.exit.await.unwrap().success());
}

#[tokio::test]
async fn a_child_has_its_channel_a_clean_environment_and_no_other_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let script = "echo ready; pwd; env; exec cat <&3";
    let mut child = spawner.spawn(shell(script, folder.path())).await.unwrap();
    assert_eq!(first_line(&mut child.log), "ready");
    let process = Path::new("/proc").join(child.killer.pid.as_raw_nonzero().to_string());
    // A shell has another one while it redirects.
    while std::fs::read_to_string(process.join("comm")).unwrap() != "cat\n" {
        tokio::task::yield_now().await;
    }
    let descriptors = std::fs::read_dir(process.join("fd")).unwrap();
    let mut descriptors: Vec<_> = descriptors.map(|fd| fd.unwrap().file_name()).collect();
    descriptors.sort();
    assert_eq!(descriptors, ["0", "1", "2", "3"]);
    let mut channel = child.channel;
    channel.set_nonblocking(false).unwrap();
    channel.write_all(b"hello\n").unwrap();
    channel.shutdown(std::net::Shutdown::Write).unwrap();
    let log = log_to_its_end(child.log).await;
    assert!(child.exit.await.unwrap().success());
    let folder = folder.path().display();
    for line in [
        "hello".to_owned(),
        folder.to_string(),
        format!("HOME={folder}"),
        format!("TMPDIR={folder}"),
        "HOWDAH_JOB_ID=job_20261122_0001".to_owned(),
        "LANG=C.UTF-8".to_owned(),
    ] {
        assert!(log.lines().any(|found| found == line), "no {line} in {log}");
    }
    assert!(!log.contains("CARGO"), "{log}");
}

#[tokio::test]
async fn a_child_ignores_and_blocks_no_signal() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let arguments = vec!["/proc/self/status".to_owned()];
    let cat = Executable { path: "/bin/cat".into(), arguments, ..shell("", folder.path()) };
    let status = log_to_its_end(spawner.spawn(cat).await.unwrap().log).await;
    // Two signals belong to glibc: nobody can set them, and nobody can be sent them.
    let settable = !(0b11 << 31);
    for signals in ["SigBlk:\t", "SigIgn:\t", "SigCgt:\t"] {
        let set = status.lines().find_map(|line| line.strip_prefix(signals)).unwrap();
        let set = u64::from_str_radix(set, 16).unwrap();
        assert_eq!(set & settable, 0, "{signals} {set:x}");
    }
}

#[tokio::test]
async fn a_kill_ends_the_whole_group_with_grandchildren() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let script = "(sleep 1000; echo late) & echo ready; sleep 1000";
    let mut child = spawner.spawn(shell(script, folder.path())).await.unwrap();
    assert_eq!(first_line(&mut child.log), "ready");
    assert!(child.killer.group_lives());
    child.killer.kill();
    assert_eq!(child.exit.await.unwrap().signal(), Some(9));
    assert!(!child.killer.group_lives());
    assert_eq!(log_to_its_end(child.log).await, "");
    child.killer.kill();
}

#[tokio::test]
async fn a_child_that_nobody_takes_over_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let spawner = Spawner::start().unwrap();
    let (reply, answer) = oneshot::channel();
    let executable = shell("exec sleep 1000 >fifo", folder.path());
    spawner.of_disk(None).unwrap().send(Request { executable, reply }).unwrap();
    // Open only when the child has opened its end, which nothing but its death closes.
    let opening = tokio::task::spawn_blocking(move || File::open(fifo).unwrap());
    let limit = std::time::Duration::from_secs(20);
    let mut childs_life = tokio::time::timeout(limit, opening).await.unwrap().unwrap();
    // One after the other: when the second is there, the first has been handed over.
    let second = spawner.spawn(shell("exit 0", folder.path())).await.unwrap();
    assert!(second.exit.await.unwrap().success());
    drop(answer);
    let end = tokio::task::spawn_blocking(move || childs_life.read(&mut [0]).unwrap());
    assert_eq!(tokio::time::timeout(limit, end).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn what_a_process_leaves_in_its_group_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let script = "sleep 1000 & exit 7";
    let child = spawner.spawn(shell(script, folder.path())).await.unwrap();
    assert_eq!(child.exit.await.unwrap().code(), Some(7));
    assert_eq!(log_to_its_end(child.log).await, "");
}

#[tokio::test]
async fn children_die_with_the_thread_that_spawned_them() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let child = spawner.spawn(shell("exec sleep 1000", folder.path())).await.unwrap();
    drop(spawner);
    let status = tokio::time::timeout(std::time::Duration::from_secs(20), child.exit).await;
    assert_eq!(status.unwrap().unwrap().signal(), Some(9));
}

/// Writes its id, and is neither in its attempt's process group, nor session, nor environment.
const RUNAWAY: &str = "env -i setsid sh -c 'echo $$; exec sleep 1000'";

fn cgroups(of: &Path) -> Vec<Cgroups> {
    let mut all = vec![Cgroups::none()];
    all.extend(Cgroups::of_version_2());
    let real = Cgroups::open(of);
    if real.controls(Controller::Pids) {
        all.push(real);
    } else {
        eprintln!("skipped: this needs cgroups with the controller pids that may be written");
    }
    all
}

#[tokio::test]
async fn what_leaves_group_session_and_environment_ends_with_its_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    for cgroups in cgroups(folder.path()) {
        for end in ["exec sleep 1000", "exit 1"] {
            let group = cgroups.make("runaway", &LIMITS).unwrap();
            let script = format!("{RUNAWAY} & read -r line <&3; {end}");
            let child = Executable { group, ..shell(&script, folder.path()) };
            let mut child = spawner.spawn(child).await.unwrap();
            let pid = first_line(&mut child.log);
            let runaway = Path::new("/proc").join(pid);
            assert!(runaway.exists());
            child.channel.write_all(b"on\n").unwrap();
            if end != "exit 1" {
                child.killer.kill();
            }
            child.exit.await.unwrap();
            assert!(!runaway.exists(), "{end}, {}", cgroups.described());
            assert_eq!(log_to_its_end(child.log).await, "");
        }
    }
}

#[tokio::test]
async fn a_daemon_of_one_attempt_lives_on_when_another_ends() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let script = format!("({RUNAWAY} &); sleep 1000");
    let mut long = spawner.spawn(shell(&script, folder.path())).await.unwrap();
    let daemon = Path::new("/proc").join(first_line(&mut long.log));
    let short = spawner.spawn(shell(":", folder.path())).await.unwrap();
    assert!(short.exit.await.unwrap().success());
    assert!(daemon.exists(), "its parent is gone, its attempt is not");
    long.killer.kill();
    long.exit.await.unwrap();
    assert!(!daemon.exists());
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn a_child_is_born_in_its_group_of_version_2() {
    let Some(cgroups) = Cgroups::of_version_2() else { return };
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let start = async |group| {
        let script = "cat /proc/self/cgroup; ulimit -n";
        spawner.spawn(Executable { group, ..shell(script, folder.path()) }).await
    };
    let make = || cgroups.make("born", &LIMITS).unwrap();
    let child = start(make().map(Group::without_entrance)).await.expect("it need not join");
    let told = log_to_its_end(child.log).await;
    assert!(told.contains("0::/") && told.contains("-born\n") && told.ends_with("300\n"), "{told}");
    assert!(child.exit.await.unwrap().success());
    let missing =
        Executable { group: make(), path: folder.path().join("none"), ..shell("", folder.path()) };
    assert_eq!(spawner.spawn(missing).await.unwrap_err().step, Step::Program);
    assert!(cgroups.make("born", &LIMITS).unwrap().unwrap().members().is_empty());
}

#[tokio::test]
async fn a_fork_bomb_is_held_by_its_cgroup_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let group = cgroups(folder.path()).pop().unwrap().make("bomb", &LIMITS).unwrap();
    let Some(events) = group.as_ref().and_then(|group| group.file("pids.events")) else {
        return;
    };
    let script = "trap '' TERM; f() { f | f & }; echo ready; (f) & exec sleep 1000";
    let child = Executable { group, ..shell(script, folder.path()) };
    let mut child = spawner.spawn(child).await.unwrap();
    assert_eq!(first_line(&mut child.log), "ready");
    let reader =
        tokio::task::spawn_blocking(move || std::io::copy(&mut child.log, &mut io::sink()));
    let limit = std::time::Duration::from_secs(20);
    let full = async {
        while std::fs::read_to_string(&events).unwrap().trim() == "max 0" {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(limit, full).await.unwrap();
    child.killer.kill();
    tokio::time::timeout(limit, child.exit).await.unwrap().unwrap();
    assert!(!events.exists(), "the group is gone, and so are all that were in it");
    tokio::time::timeout(limit, reader).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn who_wants_more_memory_than_the_limit_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    for cgroups in cgroups(folder.path()) {
        let group = cgroups.make("hog", &LIMITS).unwrap();
        let is_held = group.as_ref().is_some_and(|it| it.controls(Controller::Memory));
        // `tail` keeps a last line of 128 MiB for as long as its input may go on.
        let script = "(head -c 128M /dev/zero; exec sleep 1000) | tail >/dev/null; exit 1";
        let child = Executable { group, ..shell(script, folder.path()) };
        let child = spawner.spawn(child).await.unwrap();
        let beyond = async {
            loop {
                let usage = child.meter.measure();
                if usage.memory_denied || usage.memory > LIMITS.memory {
                    return usage;
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        let limit = std::time::Duration::from_secs(20);
        let usage = tokio::time::timeout(limit, beyond).await.unwrap();
        assert_eq!(usage.memory_denied, is_held, "{usage:?}");
        child.killer.kill();
        child.exit.await.unwrap();
        assert_eq!(child.meter.last().memory_denied, is_held, "told after its end too");
    }
}

#[tokio::test]
async fn what_a_program_and_its_children_have_in_common_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    if !Path::new("/usr/bin/perl").exists() {
        return eprintln!("skipped: this needs perl");
    }
    let script = "exec perl -e '$| = 1; open Z, \"/dev/zero\"; read Z, $all, 40e6; fork; fork; print \"on\\n\"; sleep 1000'";
    let mut child = spawner.spawn(shell(script, folder.path())).await.unwrap();
    for _ in 0..4 {
        assert_eq!(first_line(&mut child.log), "on");
    }
    let usage = child.meter.measure();
    assert!((40_000_000..LIMITS.memory).contains(&usage.memory), "{usage:?}");
    assert_eq!(usage.processes, 4);
    child.killer.kill();
    child.exit.await.unwrap();
}

#[tokio::test]
async fn a_process_has_no_more_open_files_than_its_limit_and_leaves_no_core() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let script = "ulimit -n; ulimit -Hn; ulimit -Hc";
    let child = spawner.spawn(shell(script, folder.path())).await.unwrap();
    assert_eq!(log_to_its_end(child.log).await, "300\n300\n0\n");
}

#[tokio::test]
async fn a_process_of_another_user_has_that_users_rights_and_no_others() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: this needs root");
    }
    const UID: u32 = 210_987;
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("attempt");
    std::fs::create_dir(&folder).unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(place.path(), 0o711);
    std::os::unix::fs::chown(&folder, Some(UID), Some(UID)).unwrap();
    let secret = place.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    mode(&secret, 0o600);
    let spawner = Spawner::start().unwrap();
    let script = "id -u; id -G; cat ../secret 2>/dev/null || echo denied; echo mine >file && cat file; \
                  grep NoNewPrivs /proc/self/status; echo named >/dev/stderr; ulimit -u";
    let child = Executable { uid: Some(UID), ..shell(script, &folder) };
    let child = spawner.spawn(child).await.unwrap();
    let log = log_to_its_end(child.log).await;
    let most = LIMITS.processes + SPARE_PROCESSES;
    let expected = format!("{UID}\n{UID}\ndenied\nmine\nNoNewPrivs:\t1\nnamed\n{most}\n");
    // `ulimit -u` is not in every shell.
    let expected = [expected.as_str(), expected.trim_end_matches(&format!("{most}\n"))];
    assert!(expected.iter().any(|text| log.starts_with(text)), "{log}");
    assert!(rustix::process::geteuid().is_root(), "the others are who they were");
    // It ends with its thread still.
    let child = Executable { uid: Some(UID), ..shell("exec sleep 1000", &folder) };
    let child = spawner.spawn(child).await.unwrap();
    drop(spawner);
    let status = tokio::time::timeout(std::time::Duration::from_secs(20), child.exit).await;
    assert_eq!(status.unwrap().unwrap().signal(), Some(9));
}

#[tokio::test]
async fn strays_are_found_by_the_folder_in_their_environment() {
    let place = tempfile::tempdir().unwrap();
    let (ours, others) = (place.path().join("a"), place.path().join("ab"));
    std::fs::create_dir_all(ours.join("attempt")).unwrap();
    std::fs::create_dir_all(&others).unwrap();
    let spawner = Spawner::start().unwrap();
    let script = "echo ready; sleep 1000";
    let mut stray = spawner.spawn(shell(script, &ours.join("attempt"))).await.unwrap();
    let mut other = spawner.spawn(shell(script, &others)).await.unwrap();
    assert_eq!(first_line(&mut stray.log), "ready");
    assert_eq!(first_line(&mut other.log), "ready");
    assert!(orphans::kill_strays(&ours) >= 1);
    assert_eq!(stray.exit.await.unwrap().signal(), Some(9));
    assert!(other.exit.try_recv().is_err(), "another folder's process goes on");
    other.killer.kill();
}

#[tokio::test]
async fn what_cannot_be_run_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = Spawner::start().unwrap();
    let missing = Executable { path: "/no/such".into(), ..shell("", folder.path()) };
    let error = spawner.spawn(missing).await.unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
}
