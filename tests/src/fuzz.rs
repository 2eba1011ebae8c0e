//! Requests that nobody means well: made from the description of an interface, mostly nearly right, by a seed. What comes
//! back is held to the description.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Time after which an answer that does not come is not waited for: some operations wait, when they are told to.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Numbers of one seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next one.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from((self.roll() >> 11) % n as u64).expect("it is below a usize")
    }

    /// True so many times of a hundred.
    pub fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// So many bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.roll() >> 40).to_le_bytes()[0]).collect()
    }
}

/// One operation of an interface.
#[derive(Debug)]
pub struct Operation<'a> {
    /// In upper case.
    pub method: String,
    /// With braces.
    pub path: &'a str,
    /// What is said of it.
    pub said: &'a Value,
}

/// The operations that a document describes.
///
/// # Panics
/// When it is no such document.
#[must_use]
pub fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().expect("it has paths");
    let mut all = Vec::new();
    for (path, item) in paths {
        for (method, said) in item.as_object().expect("it has methods") {
            all.push(Operation { method: method.to_ascii_uppercase(), path, said });
        }
    }
    all
}

/// A request as it is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its first line and what tells it from others.
    pub told: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its media type, without parameters.
    pub media_type: String,
    /// Its body, or the beginning of one that does not end.
    pub body: Vec<u8>,
}

/// When the sender's half of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// When the answer is there: it asks for that.
    WithTheAnswer,
    /// When all is sent, whole or not.
    AtOnce,
}

/// Sends bytes on a connection of their own and reads the answer; `None` where none comes.
///
/// # Errors
/// When there is no connection.
pub fn exchange(address: &str, bytes: &[u8], end: End) -> std::io::Result<Option<Answer>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Who refuses a request need not read all of it.
    let sent = stream.write_all(bytes);
    if end == End::AtOnce && sent.is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut raw = Vec::new();
    let mut piece = [0; 16 << 10];
    while raw.len() < ANSWER_BYTES_MAX && !is_endless(&raw) {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(n) => raw.extend_from_slice(&piece[..n]),
        }
    }
    Ok(parse(&raw))
}

/// Events go on for hours.
fn is_endless(raw: &[u8]) -> bool {
    parse(raw).is_some_and(|answer| answer.media_type == "text/event-stream")
}

fn parse(raw: &[u8]) -> Option<Answer> {
    let end = raw.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&raw[..end]);
    let status = head.lines().next()?.split(' ').nth(1)?.parse().ok()?;
    let media = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    });
    let media = media.unwrap_or_default();
    let media_type = media.split(';').next().unwrap_or_default().trim().to_owned();
    Some(Answer { status, media_type, body: raw[end + 4..].to_vec() })
}

/// Makes requests of one interface.
pub struct Fuzzer<'a> {
    document: &'a Value,
    dice: Dice,
    /// By the name of a schema, or of a field, what is right and names something that is there.
    known: BTreeMap<&'static str, Vec<Value>>,
    sequence: u64,
}

/// Text that is nobody's name.
const STRANGE: [&str; 16] = [
    "",
    " ",
    "\0",
    "..",
    "../../etc/passwd",
    "/",
    "//",
    "%00",
    "\u{202e}evil",
    "é\u{301}",
    "💥",
    "'; --",
    "<script>",
    "${x}",
    "NaN",
    "job_99999999_4294967296",
];

impl<'a> Fuzzer<'a> {
    /// Of this interface, with names that are there.
    #[must_use]
    pub fn new(document: &'a Value, seed: u64, known: BTreeMap<&'static str, Vec<Value>>) -> Self {
        Self { document, dice: Dice::new(seed), known, sequence: 0 }
    }

    /// A request for this operation: mostly nearly right.
    pub fn request(&mut self, operation: &Operation<'_>, headers: &[String]) -> Sent {
        let mut path = operation.path.to_owned();
        let mut query = Vec::new();
        let mut headers = headers.to_vec();
        for parameter in operation.said["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default();
            let value = text_of(&self.value(&parameter["schema"], name, 0));
            match parameter["in"].as_str() {
                // Without anything there it is another path.
                Some("path") => {
                    let value = if value.is_empty() { "-" } else { &value };
                    path = path.replace(&format!("{{{name}}}"), &encoded(value));
                }
                Some("query") if parameter["required"] == true || self.dice.percent(60) => {
                    query.push(format!("{name}={}", encoded(&value)));
                }
                Some("header") if self.dice.percent(30) => {
                    let plain: String = value.chars().filter(|it| !it.is_control()).collect();
                    headers.push(format!("{name}: {plain}"));
                }
                _ => {}
            }
        }
        if self.dice.percent(5) {
            query.push("no_such_parameter=1".to_owned());
        }
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let (media_type, body) = self.body(operation.said);
        headers.extend(media_type.map(|it| format!("Content-Type: {it}")));
        let line = format!("{} {path}", operation.method);
        let shown = String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned();
        let mut bytes = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n",
            body.len(),
            headers.iter().map(|it| format!("{it}\r\n")).collect::<String>()
        )
        .into_bytes();
        bytes.extend_from_slice(&body);
        Sent { told: format!("{line} {shown}"), bytes }
    }

    fn body(&mut self, said: &Value) -> (Option<String>, Vec<u8>) {
        let Some(content) = said["requestBody"]["content"].as_object() else {
            return (None, Vec::new());
        };
        let types: Vec<&String> = content.keys().collect();
        let media_type = (*self.dice.pick(&types)).clone();
        if media_type == "application/octet-stream" {
            let length = self.dice.below(3000);
            return (Some(media_type), self.dice.bytes(length));
        }
        let value = self.value(&content[&media_type]["schema"], "", 0);
        let mut body = serde_json::to_vec(&value).expect("it is plain data");
        match self.dice.below(40) {
            0 => body.truncate(self.dice.below(body.len().max(1))),
            1 => {
                let at = self.dice.below(body.len().max(1));
                body.insert(at, *self.dice.pick(b"\xff\0{}[],:\"\\9"));
            }
            2 => body = nested(20_000),
            3 => body = b"1e999999999999999999".to_vec(),
            4 => return (Some("text/plain".to_owned()), body),
            5 => return (None, body),
            _ => {}
        }
        (Some(media_type), body)
    }

    /// A value of this schema, now and then of none.
    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth > 12 || self.dice.percent(6) {
            return self.strange();
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let named = reference.rsplit('/').next().unwrap_or_default();
            if named == "RequestStamp" && self.dice.percent(80) {
                self.sequence += 1;
                return json!({"client": "fuzz-client", "slot": 0, "sequence": self.sequence});
            }
            return match self.known.get(named).cloned() {
                Some(known) if self.dice.percent(75) => self.dice.pick(&known).clone(),
                _ => {
                    let schema = self.document.pointer(reference.trim_start_matches('#'));
                    self.value(schema.unwrap_or(&Value::Null), name, depth + 1)
                }
            };
        }
        if let Some(known) = self.known.get(name).cloned()
            && self.dice.percent(75)
        {
            return self.dice.pick(&known).clone();
        }
        if let Some(one) = schema.get("const") {
            return one.clone();
        }
        if let Some(any) = schema["enum"].as_array() {
            return self.dice.pick(any).clone();
        }
        let mut whole = Map::new();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            if let Value::Object(fields) = self.value(part, name, depth + 1) {
                whole.extend(fields);
            }
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(any) = schema[key].as_array() {
                let one = self.dice.pick(any).clone();
                match self.value(&one, name, depth + 1) {
                    Value::Object(fields) => whole.extend(fields),
                    other => return other,
                }
            }
        }
        if schema.get("properties").is_some() || schema.get("additionalProperties").is_some() {
            whole.extend(self.object(schema, depth));
        }
        if !whole.is_empty() {
            return Value::Object(whole);
        }
        let kind = match &schema["type"] {
            Value::Array(any) if !any.is_empty() => self.dice.pick(any).clone(),
            one => one.clone(),
        };
        match kind.as_str() {
            Some("object") => Value::Object(self.object(schema, depth)),
            Some("array") => {
                let length = match self.dice.below(60) {
                    0 => 1200,
                    n => n % 4,
                };
                (0..length).map(|_| self.value(&schema["items"], name, depth + 1)).collect()
            }
            Some("string") => Value::String(self.text()),
            Some("integer") => self.integer(schema),
            Some("number") => json!(*self.dice.pick(&[0.0, -0.5, 1e300, 0.25])),
            Some("boolean") => Value::Bool(self.dice.percent(50)),
            Some("null") => Value::Null,
            _ => self.strange(),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Map<String, Value> {
        let mut object = Map::new();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.iter().any(|it| it == name);
            if self.dice.percent(if is_required { 98 } else { 35 }) {
                object.insert(name.clone(), self.value(property, name, depth + 1));
            }
        }
        if let Some(more @ Value::Object(_)) = schema.get("additionalProperties") {
            for _ in 0..self.dice.below(3) {
                let key = self.text();
                object.insert(key, self.value(more, "", depth + 1));
            }
        }
        if self.dice.percent(2) {
            object.insert(self.text(), self.strange());
        }
        object
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let least = schema["minimum"].as_u64().unwrap_or_default();
        let most = schema["maximum"].as_u64().unwrap_or(u64::MAX);
        let within = least.saturating_add(self.dice.roll() % 9).min(most);
        self.dice
            .pick(&[json!(within), json!(within), json!(within), json!(least), json!(most)])
            .clone()
    }

    fn text(&mut self) -> String {
        match self.dice.below(6) {
            0 => self.dice.pick(&STRANGE).to_string(),
            1 => "x".repeat(self.dice.below(5000)),
            _ => (0..self.dice.below(12))
                .map(|_| *self.dice.pick(&['a', 'b', '/', '-', '0', 'ü']))
                .collect(),
        }
    }

    fn strange(&mut self) -> Value {
        match self.dice.below(12) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(u64::MAX),
            3 => json!(i64::MIN),
            4 => json!(-1),
            5 => json!(1e300),
            6 => json!([]),
            7 => json!({}),
            8 => json!([[[[{"a": [{}]}]]]]),
            9 => json!({"": null, "a": {"b": []}}),
            _ => Value::String(self.text()),
        }
    }
}

/// An array in an array in an array …
#[must_use]
pub fn nested(deep: usize) -> Vec<u8> {
    [b"[".repeat(deep), b"]".repeat(deep)].concat()
}

fn text_of(value: &Value) -> String {
    match value {
        // Heads have bounds of their own.
        Value::String(text) => text.chars().take(1000).collect(),
        other => other.to_string(),
    }
}

/// Percent-encoded, all but what may stand anywhere.
#[must_use]
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// What is wrong with an answer, by the description of the operation.
#[must_use]
pub fn fault(document: &Value, operation: &Operation<'_>, answer: &Answer) -> Option<String> {
    let Answer { status, media_type, body } = answer;
    if *status >= 500 && ![501, 503, 505, 507].contains(status) {
        return Some(format!("{status}: {}", String::from_utf8_lossy(body)));
    }
    let said = &operation.said["responses"][status.to_string()];
    let named = said["$ref"].as_str().map(|it| it.trim_start_matches('#'));
    let said = named.and_then(|it| document.pointer(it)).unwrap_or(said);
    let Some(said) = said.as_object() else {
        let body = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
        return Some(format!("{status} is not among its answers: {body}"));
    };
    let empty = Map::new();
    let content = said.get("content").and_then(Value::as_object).unwrap_or(&empty);
    let known = content.get(media_type).or_else(|| content.get("*/*"));
    let Some(known) = known else {
        return (!content.is_empty() || !body.is_empty())
            .then(|| format!("{status} with {media_type:?}, which is not said"));
    };
    if *status < 400 {
        return None;
    }
    let kinds = known["schema"]["allOf"][1]["properties"]["type"]["enum"].as_array();
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_known = kinds.is_some_and(|kinds| kinds.contains(&problem["type"]));
    let is_whole =
        problem["status"] == *status && problem["detail"].as_str().is_some_and(|it| it.len() > 5);
    (!is_known || !is_whole).then(|| format!("{status} with a problem that is not said: {problem}"))
}
