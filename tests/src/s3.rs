//! An S3 server on loopback: moto's, of PyPI, which `./check` puts below the target folder. It is asked here by
//! plain HTTP, so that what our client did is seen by another's eyes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::binary::target;
use crate::cluster::end_with_this_process;
use crate::http;

/// The bucket of tests.
pub const BUCKET: &str = "bucket-1";
/// The environment variable that holds the key's secret.
pub const SECRET_VARIABLE: &str = "HOWDAH_TEST_S3_SECRET";
/// What that variable holds.
pub const SECRET: &str = "a-secret-that-nobody-may-see";

/// Moto wants to see who asks, and does not verify it.
const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=AKTEST/20261128/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=0";

/// A running server with an empty bucket. It ends with this.
pub struct S3 {
    server: Child,
    address: String,
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl S3 {
    /// Starts one; `None`, said aloud, where moto is not installed.
    ///
    /// # Panics
    /// When it does not serve.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = target().join("tools/moto/bin/moto_server");
        if !program.exists() {
            println!("skipped: no {}; ./check installs it", program.display());
            return None;
        }
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        end_with_this_process(&mut command);
        let mut server = command.spawn().expect("moto starts");
        let mut said = BufReader::new(server.stderr.take().expect("a pipe")).lines();
        let address = said.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("Running on http://")?;
            Some(address.trim().to_owned())
        });
        // It goes on to say what it is asked, and must not wait for a reader.
        std::thread::spawn(move || said.map_while(Result::ok).for_each(drop));
        let s3 = Self { server, address: address.expect("moto says where it serves") };
        let made = s3.request("PUT", &format!("/{BUCKET}"));
        assert_eq!(made.status, 200, "{}", made.text);
        Some(s3)
    }

    fn request(&self, method: &str, path: &str) -> http::Response {
        http::request(&self.address, method, path, &[SIGNED], "").expect("moto answers")
    }

    /// The entry of the configuration's `stores`, as a value of `--set`.
    #[must_use]
    pub fn entry(&self) -> String {
        let address = &self.address;
        format!(
            "{{url: 's3://{BUCKET}', endpoint: 'http://{address}', allow_http: true, \
             key_id: AKTEST, secret_env: {SECRET_VARIABLE} }}"
        )
    }

    /// The same for jobs, with the secret in a file.
    #[must_use]
    pub fn entry_with_file(&self, secret: &Path) -> String {
        let (address, secret) = (&self.address, secret.display());
        format!(
            "{{url: 's3://{BUCKET}', endpoint: 'http://{address}', allow_http: true, \
             key_id: AKTEST, secret_file: {secret}, jobs: true}}"
        )
    }

    /// A configuration file with that entry alone.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn config_file(&self, folder: &Path) -> String {
        let path = folder.join("s3.yaml");
        let text = format!("stores:\n- {}\n", self.entry());
        std::fs::write(&path, text).expect("a file can be written");
        path.to_str().expect("a path of text").to_owned()
    }

    /// The keys of all objects that begin with `prefix`, sorted.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.request("GET", &format!("/{BUCKET}?list-type=2&prefix={prefix}"));
        assert_eq!(listed.status, 200, "{}", listed.text);
        between(&listed.text, "<Key>", "</Key>")
    }

    /// The keys of all uploads that were begun and neither completed nor given up.
    #[must_use]
    pub fn uploads(&self) -> Vec<String> {
        let listed = self.request("GET", &format!("/{BUCKET}?uploads"));
        assert_eq!(listed.status, 200, "{}", listed.text);
        between(&listed.text, "<Key>", "</Key>")
    }

    /// An object's text.
    #[must_use]
    pub fn text(&self, key: &str) -> String {
        let got = self.request("GET", &format!("/{BUCKET}/{key}"));
        assert_eq!(got.status, 200, "{key}: {}", got.text);
        got.text
    }

    /// Puts an object.
    ///
    /// # Panics
    /// When moto says no.
    pub fn put(&self, key: &str, text: &str) {
        let path = format!("/{BUCKET}/{key}");
        let put =
            http::request(&self.address, "PUT", &path, &[SIGNED], text).expect("moto answers");
        assert_eq!(put.status, 200, "{}", put.text);
    }
}

fn between(text: &str, begin: &str, end: &str) -> Vec<String> {
    let pieces = text.split(begin).skip(1);
    let mut found: Vec<_> =
        pieces.filter_map(|piece| Some(piece.split_once(end)?.0.to_owned())).collect();
    found.sort();
    found
}
