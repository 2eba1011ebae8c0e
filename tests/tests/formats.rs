//! Inputs that are not plain text, on a cluster: what they hold is counted as if it were.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::command::finish;
use tests::oracle::{count_words_of, lines_of_counts, lines_of_parts};
use tests::{Dev, DevOptions, books};

/// Compresses each file of `from` into `to`.
fn gzip_all(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("it was just made") {
        let file = entry.expect("it can be read").path();
        let packed = finish(Command::new("gzip").arg("--stdout").arg(&file)).success();
        let name = format!("{}.gz", file.file_name().expect("it has one").to_string_lossy());
        fs::write(to.join(name), packed.stdout).expect("a file can be written");
    }
}

#[test]
fn compressed_files_of_several_chunks_are_counted_whole() {
    let dev = Dev::start(&DevOptions::trackers(3).set("chunkmaster.chunk_bytes=64KiB"));
    let input = books::folder(dev.scratch());
    let packed = dev.scratch().join("packed");
    gzip_all(&input, &packed);
    let longest = fs::read_dir(&packed)
        .expect("it is there")
        .map(|entry| entry.and_then(|entry| entry.metadata()).expect("it can be read").len());
    assert!(longest.max().is_some_and(|bytes| bytes > 64 << 10), "one has several chunks");
    dev.put(&packed, "/in");
    let job = "name: words\ninput: [/in]\noutput: /out\nreduces: 2\nprogram:\n  \
               builtin: {name: wordcount}\n";
    let file = dev.job_file("job.yaml", job);
    let id = dev.run(&["job", "submit", &file, "--wait"]).success().text();
    let got = dev.scratch().join("got");
    dev.get("/out", &got);
    let expected = lines_of_counts(&count_words_of(&input));
    assert!(lines_of_parts(&got) == expected, "the cluster's counts differ");
    let files = fs::read_dir(&packed).expect("it is there").count();
    let maps = dev.run(&["job", "status", &id, "--format", "json"]).success().text();
    assert!(maps.contains(&format!("\"total\": {files}")), "one map for each file: {maps}");

    let torn = fs::read(
        fs::read_dir(&packed).expect("it is there").next().expect("one").expect("one").path(),
    );
    let torn = torn.expect("it can be read");
    let path = dev.scratch().join("torn.gz");
    fs::write(&path, &torn[..torn.len() - 100]).expect("a file can be written");
    dev.put(&path, "/torn.gz");
    let job = job.replace("[/in]", "[/torn.gz]").replace("/out", "/none");
    let file = dev.job_file("torn.yaml", &format!("{job}max_attempts: 1\n"));
    let failed = dev.run(&["job", "submit", &file, "--wait"]);
    let said = &failed.stderr;
    assert!(said.contains("/torn.gz: it is no whole gzip file: it ends too early"), "{said}");
}

#[test]
fn each_format_is_planned_and_read_by_its_own_rules() {
    let dev = Dev::start(&DevOptions::trackers(2).set("chunkmaster.chunk_bytes=64KiB"));
    let lines: String = (0..20_000).map(|n| format!("{n},{}\n", n % 7)).collect();
    dev.put_text(&lines, "/in/text");
    let run = |name: &str, format: &str, program: &str| {
        let job = format!(
            "name: {name}\ninput: [/in]\noutput: /{name}\nreduces: 0\ninput_format: {format}\n\
             program: {program}\n"
        );
        let file = dev.job_file("job.yaml", &job);
        let _id = dev.run(&["job", "submit", &file, "--wait"]).success();
        let got = dev.scratch().join(name);
        dev.get(&format!("/{name}"), &got);
        let mut parts: Vec<_> = fs::read_dir(&got)
            .expect("it was just made")
            .map(|entry| entry.expect("it can be read").path())
            .filter(|path| path.to_string_lossy().contains("part-"))
            .collect();
        parts.sort();
        let read = |path| fs::read_to_string(path).expect("it is text");
        parts.into_iter().map(read).collect::<Vec<_>>()
    };
    let command = |mapper: &str| format!("{{streaming: {{mapper: '{mapper}', reducer: NONE}}}}");
    let by_lines = run("lines", "{lines: 3000}", "{builtin: {name: identity}}");
    assert_eq!(
        by_lines.iter().map(|part| part.lines().count()).collect::<Vec<_>>(),
        [3000, 3000, 3000, 3000, 3000, 3000, 2000]
    );
    assert_eq!(by_lines.concat(), lines, "by the lines of a file of several chunks");
    let keys = run("keys", "{key-value: {separator: ','}}", &command("cut -f 2"));
    assert!(keys.len() > 1, "it is split");
    let values: String = (0..20_000).map(|n| format!("{}\n", n % 7)).collect();
    assert_eq!(keys.concat(), values);
    assert_eq!(run("whole", "whole-file", &command("wc -c")), [format!("{}\n", lines.len())]);
    let refused = dev.job_file(
        "refused.yaml",
        "name: n\ninput: [/in]\noutput: /none\ninput_format: sequence\nprogram: {builtin: {name: identity}}\n",
    );
    let refused = dev.run(&["job", "submit", &refused]);
    assert!(
        refused.stderr.contains("`whole-file`") && refused.code == Some(2),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_output_of_another_format_and_compressed_is_read_by_the_next_job() {
    let dev = Dev::start(&DevOptions::trackers(3).set("chunkmaster.chunk_bytes=64KiB"));
    let input = books::folder(dev.scratch());
    dev.put(&input, "/in");
    let expected = lines_of_counts(&count_words_of(&input));
    let job = |name: &str, rest: &str| {
        let file = dev.job_file(&format!("{name}.yaml"), &format!("name: {name}\n{rest}"));
        dev.run(&["job", "submit", &file, "--wait"]).success().text()
    };
    for (format, codec, extension) in
        [("csv", "gzip", "gz"), ("json-lines", "zstd", "zst"), ("text", "snappy", "snappy")]
    {
        let id = job(
            format,
            &format!(
                "input: [/in]\noutput: /{format}\nreduces: 3\noutput_format: {format}\n\
                 output_compression: {codec}\nmap_output_compression: lz4\n\
                 program: {{builtin: {{name: wordcount}}}}\n"
            ),
        );
        let names = dev.run(&["fs", "ls", &format!("/{format}")]).success().text();
        assert!(names.contains(&format!("part-r-00002.{extension}")), "{names}");
        let counters = dev.run(&["job", "counters", &id, "--format", "json"]).success().text();
        let counters: serde_json::Value = serde_json::from_str(&counters).expect("it is JSON");
        let counter = |name: &str| counters["counters"][name].as_u64().expect(name);
        let [raw, stored] = ["UNCOMPRESSED", "MATERIALIZED"]
            .map(|what| counter(&format!("task.MAP_OUTPUT_{what}_BYTES")));
        assert!(stored < raw, "{stored} of {raw}");
        assert!(counter("task.OUTPUT_COMPRESSED_BYTES") < counter("task.OUTPUT_BYTES"));
        let written = dev.run(&["fs", "text", &format!("/{format}/part-*")]).success().text();
        // The next one takes the fields apart, whatever they are written as.
        let mapper = match format {
            "csv" => {
                "python3 -c \"import csv, sys; [print(*row, sep='\\t') for row in csv.reader(sys.stdin)]\""
            }
            "json-lines" => {
                "python3 -c \"import json, sys; [print(row['key'], row['value'], sep='\\t') for row in map(json.loads, sys.stdin)]\""
            }
            _ => "cat",
        };
        let _id = job(
            "back",
            &format!(
                "input: [/{format}]\noutput: /back-{format}\ninput_format: {format}\nprogram:\n  streaming:\n    \
                 mapper: |\n      {mapper}\n    reducer: NONE\n"
            ),
        );
        let got = dev.scratch().join(format!("back-{format}"));
        dev.get(&format!("/back-{format}"), &got);
        assert!(lines_of_parts(&got) == expected, "{format}: the counts differ");
        assert_eq!(
            written.lines().count(),
            expected.len(),
            "{format}: `fs text` has another number"
        );
    }
    let id = job(
        "nothing",
        "input: [/in]\noutput: /nothing\noutput_format: none\nprogram: {builtin: {name: wordcount}}\n",
    );
    let names = dev.run(&["fs", "ls", "/nothing"]).success().text();
    assert!(names.contains("_SUCCESS") && !names.contains("part-"), "{names}");
    let counters = dev.run(&["job", "counters", &id]).success().text();
    assert!(counters.contains("REDUCE_OUTPUT_RECORDS"), "{counters}");
}
