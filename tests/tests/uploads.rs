//! Files that come through the JobTracker, from clients that send a part, or go away.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use tests::cluster::PATIENCE;
use tests::{Dev, DevOptions, http, wait};

const BEFORE: &str = "what stands there";

fn put(dev: &Dev, headers: &[&str], body: &str) -> http::Response {
    let path = "/v1/files/content?path=/in/a&replace=true";
    http::request(&dev.jobtracker(), "PUT", path, headers, body).expect("an answer")
}

/// The file's bytes, and the names beside it.
fn found(dev: &Dev) -> (String, Vec<String>) {
    let text = dev.run(&["fs", "cat", "/in/a"]).success().text();
    let listed = http::request(&dev.jobtracker(), "GET", "/v1/files?path=/in", &[], "");
    let entries = listed.expect("an answer").body["entries"].clone();
    let entries = entries.as_array().expect("entries").iter();
    (text, entries.map(|entry| entry["path"].as_str().expect("a path").to_owned()).collect())
}

#[test]
fn a_part_of_a_file_or_a_coded_one_does_not_become_the_file() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text(BEFORE, "/in/a");
    for (header, status) in [
        ("Content-Range: bytes 5-10/100", 400),
        ("Content-Range: bytes 0-5/6", 400),
        ("Content-Encoding: gzip", 400),
    ] {
        let refused = put(&dev, &[header], "a part");
        assert_eq!(refused.status, status, "{header}: {}", refused.text);
        assert_eq!(found(&dev), (BEFORE.to_owned(), vec!["/in/a".to_owned()]), "{header}");
    }
    assert_eq!(put(&dev, &["Content-Encoding: identity"], "all").status, 201);
    assert_eq!(found(&dev).0, "all");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "no state shows that the JobTracker waits for a chunk master that does not answer"
)]
fn a_client_that_goes_when_it_has_sent_all_leaves_its_file_and_nothing_beside_it() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text(BEFORE, "/in/a");
    let address = dev.jobtracker();
    let mut client = TcpStream::connect(&address).expect("it listens");
    write!(
        client,
        "PUT /v1/files/content?path=/in/a&replace=true HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: 6\r\n\r\nwho"
    )
    .expect("it is sent");
    wait::until("the new file is being written", PATIENCE, || {
        (found(&dev).1.len() == 2).then_some(())
    });
    dev.freeze("chunkmaster");
    client.write_all(b"le\n").expect("it is sent");
    // Long enough for the JobTracker to ask the chunk master that the file be closed.
    std::thread::park_timeout(Duration::from_secs(1));
    drop(client);
    std::thread::park_timeout(Duration::from_millis(200));
    dev.thaw("chunkmaster");
    wait::until("the new file is in its place, alone", PATIENCE, || {
        (found(&dev) == ("whole".to_owned(), vec!["/in/a".to_owned()])).then_some(())
    });
}
