//! Several jobs at once on real hosts.

use tests::{Dev, DevOptions, books};

const MAPS: u64 = 100;

#[test]
fn a_small_job_ends_long_before_a_large_one_that_came_first() {
    let dev = Dev::start(&DevOptions::trackers(3).set("chunkmaster.chunk_bytes=1MiB"));
    let text = dev.scratch().join("text");
    books::generate(&text, &format!("{MAPS}MiB"), 3);
    dev.put(&text, "/large/text");
    dev.put_text("a b a\n", "/small/text");
    let submit = |name: &str| {
        let text = format!(
            "name: {name}\ninput: [/{name}]\noutput: /out/{name}\nprogram: {{builtin: {{name: wordcount}}}}\n"
        );
        let file = dev.job_file(&format!("{name}.yaml"), &text);
        dev.run(&["job", "submit", &file]).success().text()
    };
    let large = submit("large");
    dev.await_job(&large, "runs", |job| job["maps"]["succeeded"].as_u64() > Some(0));
    let small = submit("small");
    dev.await_job(&small, "succeeds", |job| job["state"] == "SUCCEEDED");
    let done = dev.job(&large)["maps"]["succeeded"].as_u64().expect("a number");
    assert!(done < MAPS / 2, "{done} of {MAPS} maps of the large job were done before");
    assert_eq!(dev.job(&large)["priority"], "normal");
    let _ = dev.run(&["job", "priority", &large, "urgent"]).refused(2, &["urgent", "very-high"]);
    let _ = dev.run(&["job", "priority", &large, "very-high"]).success();
    assert_eq!(dev.job(&large)["priority"], "very-high");
    dev.await_job(&large, "succeeds", |job| job["state"] == "SUCCEEDED");
    let _ = dev.run(&["job", "priority", &large, "low"]).refused(1, &[&large, "SUCCEEDED"]);
}
