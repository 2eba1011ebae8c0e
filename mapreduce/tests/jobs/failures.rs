//! Bad jobs and broken author's code: a typed failure with a sentence that names the thing, and nothing
//! left behind.

use crate::local::{Folder, Shape, local_job, run, wordcount};
use mapreduce::runtime::run_local;
use mapreduce::{Bytes, HashPartitioner, Identity, Job, Key, Partitioner, Text};
use mapreduce_protocol::{Failure, FailureKind};

fn folder() -> Folder {
    Folder::with(&[b"one\ntwo\nboom\nthree\n".repeat(50)])
}

fn failure_of(job: &Job, shape: &Shape, sequential: bool) -> Failure {
    run(job, "native", &folder(), shape, sequential).unwrap_err()
}

/// Runtime and oracle fail alike.
fn check(job: &Job, kind: &FailureKind, needle: &str) {
    for sequential in [false, true] {
        let failure = failure_of(job, &Shape::default(), sequential);
        assert_eq!(&failure.kind, kind, "{}", failure.message);
        assert!(failure.message.contains(needle), "{}", failure.message);
    }
}

#[test]
fn errors_of_the_authors_code_name_themselves() {
    let map: Job = Job::map::<Bytes, u64>(|line, _| match line.value {
        b"boom" => Err("the line says boom".into()),
        _ => Ok(()),
    })
    .into();
    check(&map, &FailureKind::UserCode, "the line says boom");
    let reduce: Job = Job::map::<Bytes, u64>(|line, out| {
        out.emit(line.value, 1);
        Ok(())
    })
    .reduce::<Bytes, ()>(|key, _, _| {
        str::from_utf8(key)?.parse::<u64>()?;
        Ok(())
    })
    .into();
    check(&reduce, &FailureKind::UserCode, "invalid digit");
}

/// Chooses a partition that does not exist.
struct Outside;

impl<K: Key> Partitioner<K> for Outside {
    fn partition(&self, _: K::Ref<'_>, _: &[u8], n_partitions: u32) -> u32 {
        n_partitions
    }
}

#[test]
fn a_partition_that_does_not_exist_is_refused() {
    let job = Job::map::<Bytes, u64>(|line, out| {
        out.emit(line.value, 1);
        Ok(())
    });
    let plain: Job = job.partitioner(Outside).into();
    check(&plain, &FailureKind::UserCode, "2 of 2");
    let combining: Job = Job::map::<Bytes, u64>(|line, out| {
        out.emit(line.value, 1);
        Ok(())
    })
    .combine(|a, b, one| one.set(a + b))
    .partitioner(Outside)
    .into();
    check(&combining, &FailureKind::UserCode, "2 of 2");
}

#[test]
fn a_combiner_that_sets_nothing_is_refused() {
    let job: Job = Job::map::<Bytes, Text>(|line, out| {
        out.emit(line.value, "x");
        Ok(())
    })
    .combine(|_, _, _| ())
    .reducer(Identity::default)
    .partitioner(HashPartitioner)
    .into();
    let failure = failure_of(&job, &Shape::default(), false);
    assert_eq!(failure.kind, FailureKind::UserCode);
    assert!(failure.message.contains("set no value"), "{}", failure.message);
}

#[test]
fn a_panic_of_the_authors_code_fails_the_job() {
    let job: Job = Job::map::<Bytes, u64>(|_, _| panic!("as the test wants")).into();
    let failure = failure_of(&job, &Shape::default(), false);
    assert!(matches!(failure.kind, FailureKind::Crashed { .. }), "{}", failure.message);
}

#[test]
fn an_output_that_exists_is_left_alone() {
    let folder = folder();
    std::fs::create_dir(folder.output()).unwrap();
    std::fs::write(folder.output().join("precious"), "x").unwrap();
    let local = local_job("wordcount", Default::default(), &folder, &Shape::default(), false);
    let failure = run_local(&wordcount(), &local).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::OutputUnavailable);
    assert!(failure.message.contains("exists"), "{}", failure.message);
    assert_eq!(std::fs::read(folder.output().join("precious")).unwrap(), b"x");
}

#[test]
fn missing_input_and_reduces_are_named() {
    let folder = folder();
    let mut local = local_job("wordcount", Default::default(), &folder, &Shape::default(), false);
    local.spec.input = vec!["/no/such/input".to_owned()];
    let failure = run_local(&wordcount(), &local).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::InputUnavailable);
    assert!(failure.message.contains("/no/such/input"), "{}", failure.message);
    let none = Shape { reduces: 0, ..Shape::default() };
    for name in ["wordcount", "native"] {
        let failure = run(&wordcount(), name, &folder, &none, false).unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadJob);
        assert!(failure.message.contains("reduce"), "{}", failure.message);
    }
}

#[test]
fn a_combiner_needs_reduces_and_no_reducer() {
    let job: Job = Job::map::<Bytes, u64>(|line, out| {
        out.emit(line.value, 1);
        Ok(())
    })
    .combine(|a, b, one| one.set(a + b))
    .into();
    let none = Shape { reduces: 0, ..Shape::default() };
    for sequential in [false, true] {
        let failure = failure_of(&job, &none, sequential);
        assert_eq!(failure.kind, FailureKind::BadJob);
        assert!(failure.message.contains("has a combiner"), "{}", failure.message);
        // Splits of a few lines each: what the maps fold is a part of it.
        let shape = Shape { split_bytes: 100, reduces: 1, ..Shape::default() };
        let ran = run(&job, "native", &folder(), &shape, sequential).unwrap();
        assert_eq!(ran.parts["part-r-00000"], b"boom\t50\none\t50\nthree\t50\ntwo\t50\n");
    }
    let refused = job.trial().input("a", ["x"]).reduces(0).run().unwrap_err().to_string();
    assert!(refused.contains("has a combiner"), "{refused}");
}

#[test]
fn a_trial_has_the_reduces_that_a_job_file_without_a_number_has() {
    let job: Job = Job::map::<Bytes, ()>(|line, out| {
        out.emit(line.value, ());
        Ok(())
    })
    .into();
    assert_eq!(job.run_on(["b", "a"]).unwrap().lines, ["a", "b"]);
    let map_only = job.trial().input("x", ["b", "a"]).reduces(0).run().unwrap();
    assert_eq!(map_only.lines, ["b", "a"]);
    let local = local_job("native", Default::default(), &folder(), &Shape::default(), false);
    let unsaid = mapreduce_protocol::JobSpec { reduces: None, ..local.spec };
    assert_eq!(mapreduce_protocol::builtins::check(&unsaid), Ok(1));
}

#[test]
fn hidden_files_and_inner_folders_are_no_input() {
    let folder = Folder::with(&[b"a b a\n".to_vec()]);
    for name in ["_SUCCESS", ".hidden"] {
        std::fs::write(folder.input().join(name), "hidden\n").unwrap();
    }
    std::fs::create_dir(folder.input().join("inner")).unwrap();
    let one = Shape { reduces: 1, ..Shape::default() };
    for sequential in [false, true] {
        let ran = run(&wordcount(), "wordcount", &folder, &one, sequential).unwrap();
        assert_eq!(ran.parts["part-r-00000"], b"a\t2\nb\t1\n");
    }
}

#[test]
fn folders_above_the_output_appear_with_it_and_only_with_it() {
    let folder = folder();
    let mut local = local_job("wordcount", Default::default(), &folder, &Shape::default(), false);
    let deep = folder.path().join("a/b/out");
    local.spec.output = deep.to_str().unwrap().to_owned();
    let failing: Job = Job::map::<Bytes, u64>(|_, _| Err("no".into())).into();
    run_local(&failing, &local).outcome.unwrap_err();
    assert!(!folder.path().join("a").exists());
    run_local(&wordcount(), &local).outcome.unwrap();
    assert!(deep.join("_SUCCESS").exists());
}

#[test]
fn a_folder_without_files_is_no_input_but_empty_files_are() {
    for entries in [&[][..], &["sub/", "_SUCCESS"]] {
        let folder = Folder::with(&[]);
        for entry in entries {
            let path = folder.input().join(entry);
            if entry.ends_with('/') {
                std::fs::create_dir(path).unwrap();
            } else {
                std::fs::write(path, "a\n").unwrap();
            }
        }
        for sequential in [false, true] {
            let failure =
                run(&wordcount(), "wordcount", &folder, &Shape::default(), sequential).unwrap_err();
            assert_eq!(failure.kind, FailureKind::InputUnavailable);
            let expected = format!("input folder {} holds no files", folder.input().display());
            assert!(failure.message.contains(&expected), "{}", failure.message);
        }
    }
    for sequential in [false, true] {
        let folder = Folder::with(&[vec![], vec![]]);
        let ran = run(&wordcount(), "wordcount", &folder, &Shape::default(), sequential).unwrap();
        let parts: Vec<_> = ran.parts.into_iter().collect();
        let empty = |name: &str| (name.to_owned(), Vec::new());
        assert_eq!(parts, [empty("part-r-00000"), empty("part-r-00001")]);
    }
}
