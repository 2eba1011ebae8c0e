//! What a job's code is told of its task, and what it counts.

use std::collections::BTreeMap;

use mapreduce::{Counter, Job, Text};
use mapreduce_protocol::{Native, Program};

use crate::local::{Folder, Shape, local_job, run_and_take};

#[derive(Counter)]
enum Seen {
    Maps,
    Reduces,
}

/// Each reduce writes where it runs, the maps what they were told.
fn told() -> Job {
    Job::map::<(u32, Text), Text>(|_, out| {
        let task = out.task();
        let words = format!("{} {} {}", task.job_name(), task.n_reduces(), task.is_map());
        let attempt = task.attempt_id();
        assert!(attempt.starts_with("attempt_") && attempt.contains(&task.task_id()[5..]));
        assert!(task.task_id().contains(&task.job_id()[4..]));
        out.emit((task.index(), &words), &attempt[attempt.len() - 10..]);
        out.add(Seen::Maps, 1);
        Ok(())
    })
    .partitioner(First)
    .reduce::<u32, Text>(|(_, words), attempts, out| {
        let task = out.task();
        let index = task.index();
        let missing = task.file("nothing.txt").unwrap_err().to_string();
        out.emit(index, &format!("{words} {} {missing}", attempts.next().unwrap_or_default()));
        out.add(Seen::Reduces, u64::from(!task.is_map()));
        Ok(())
    })
    .into()
}

struct First;

impl mapreduce::Partitioner<(u32, Text)> for First {
    fn partition(&self, (first, _): (u32, &str), _: &[u8], n_partitions: u32) -> u32 {
        first % n_partitions
    }
}

#[test]
fn a_task_knows_which_one_it_is() {
    let folder = Folder::with(&[b"a\n".to_vec(), b"b\n".to_vec(), b"c\n".to_vec()]);
    let shape = Shape { reduces: 2, ..Shape::default() };
    let mut local = local_job("native", BTreeMap::new(), &folder, &shape, false);
    local.spec.program = Program::Native(Native {
        executable: "/nowhere".to_owned(),
        args: vec![],
        sha256: None,
        files: vec!["/etc/hosts".parse().unwrap(), "/etc/passwd#users".parse().unwrap()],
    });
    let ran = run_and_take(&told(), &local, &folder).unwrap();
    let missing =
        "the job brings no file \"nothing.txt\" (hosts, users): name it in 'files' of its program";
    let line = |reduce: u32, map: u32| format!("{reduce}\tnative 2 true m_{map:06}_0 {missing}\n");
    let text = |part: &str| String::from_utf8(ran.parts[part].clone()).unwrap();
    assert_eq!(text("part-r-00000"), line(0, 0) + &line(0, 2));
    assert_eq!(text("part-r-00001"), line(1, 1));
    assert_eq!((ran.counters["Seen.Maps"], ran.counters["Seen.Reduces"]), (3, 3));
    local.sequential = true;
    let ran = run_and_take(&told(), &local, &folder).unwrap();
    assert_eq!((ran.counters["Seen.Maps"], ran.counters["Seen.Reduces"]), (3, 1));
}
