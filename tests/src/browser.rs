//! Debian's Chromium without a window, driven through its DevTools protocol over a pipe: it opens no port, and ends with the
//! test. What it writes on a page's console is kept, since a page that complains is a page that fails.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::target;
use crate::cluster::{PATIENCE, end_of, end_with_this_process};
use crate::wait;

/// The pipe's two ends, as the browser knows them: 3 to read, 4 to write.
const PIPES: &str = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null";
const ARGUMENTS: [&str; 11] = [
    "--headless=new",
    "--remote-debugging-pipe",
    // Tests run as root, in containers too.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--no-first-run",
    "--force-color-profile=srgb",
];

/// A running browser. It ends with this.
pub struct Browser {
    process: Child,
    commands: RefCell<ChildStdin>,
    messages: Receiver<Value>,
    events: RefCell<Vec<Value>>,
    last: Cell<u64>,
    profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if std::thread::panicking() {
            eprintln!("==== chromium ====\n{}", end_of(&self.log()).unwrap_or_default());
        }
    }
}

impl Browser {
    /// One without any page; `None`, said aloud, where it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = ["/usr/bin/chromium", "/usr/bin/chromium-browser"];
        let Some(program) = program.iter().find(|program| Path::new(program).exists()) else {
            println!("skipped: no /usr/bin/chromium; ./check installs it");
            return None;
        };
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", PIPES, "sh", program]).args(ARGUMENTS);
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
        let log = fs::File::create(profile.path().join("log")).expect("a log can be made");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        end_with_this_process(&mut command);
        let mut process = command.spawn().expect("a shell starts");
        let commands = RefCell::new(process.stdin.take().expect("its input is a pipe"));
        let replies = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let texts = replies.split(0).map_while(Result::ok);
            for message in texts.filter_map(|text| serde_json::from_slice(&text).ok()) {
                // The test may be over.
                let _over = sender.send(message);
            }
        });
        let (events, last) = (RefCell::default(), Cell::default());
        Some(Self { process, commands, messages, events, last, profile })
    }

    fn log(&self) -> PathBuf {
        self.profile.path().join("log")
    }

    /// A new page of this size, in points.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[must_use]
    pub fn page(&self, (width, height): (u32, u32)) -> Page<'_> {
        let target = self.call(None, "Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call(None, "Target.attachToTarget", &attach)["sessionId"].clone();
        let session = session.as_str().expect("a session has a name").to_owned();
        let page = Page { browser: self, session };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page.resize((width, height));
        page
    }

    fn call(&self, session: Option<&str>, method: &str, params: &Value) -> Value {
        let answer = self.ask(session, method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The result, or what the browser said instead.
    fn ask(&self, session: Option<&str>, method: &str, params: &Value) -> Result<Value, Value> {
        let id = self.last.get() + 1;
        self.last.set(id);
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.commands.borrow_mut().write_all(&text).expect("the browser is there");
        loop {
            let answer = self.receive(PATIENCE).unwrap_or_else(|| panic!("{method}: no answer"));
            if answer["id"] == id {
                let error = &answer["error"];
                return if error.is_null() {
                    Ok(answer["result"].clone())
                } else {
                    Err(error.clone())
                };
            }
            self.events.borrow_mut().push(answer);
        }
    }

    fn receive(&self, patience: Duration) -> Option<Value> {
        self.messages.recv_timeout(patience).ok()
    }

    /// Takes in what came meanwhile.
    fn catch_up(&self) {
        while let Ok(event) = self.messages.try_recv() {
            self.events.borrow_mut().push(event);
        }
    }
}

/// A page of it.
pub struct Page<'a> {
    browser: &'a Browser,
    session: String,
}

impl Page<'_> {
    /// A command of the DevTools protocol.
    ///
    /// # Panics
    /// When the browser refuses it.
    pub fn call(&self, method: &str, params: &Value) -> Value {
        self.browser.call(Some(&self.session), method, params)
    }

    /// Makes it so large, in points.
    pub fn resize(&self, (width, height): (u32, u32)) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Opens an address and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
        let is_there =
            format!("location.href === {} && document.readyState === 'complete'", json!(url));
        self.wait_for(&format!("{url} is loaded"), &is_there);
    }

    /// The value of an expression in the page; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    #[must_use]
    pub fn eval(&self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &asked);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {}", thrown["exception"]["description"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true; while the page loads it may throw.
    ///
    /// # Panics
    /// When time is up: then what the page shows is told.
    pub fn wait_for(&self, what: &str, condition: &str) {
        let guarded =
            format!("(() => {{ try {{ return !!({condition}) }} catch {{ return false }} }})()");
        let asked = json!({"expression": guarded, "returnByValue": true});
        let holds = || {
            let answer = self.browser.ask(Some(&self.session), "Runtime.evaluate", &asked);
            answer.is_ok_and(|answer| answer["result"]["value"] == true)
        };
        let started = clock::Stopwatch::start();
        wait::until(what, PATIENCE * 2, || {
            if started.elapsed() > PATIENCE {
                let shown = self.eval("document.body.innerText");
                panic!("{what}: not within {PATIENCE:?}; the page shows: {shown}");
            }
            holds().then_some(())
        });
    }

    /// Waits until some element that can be seen has this text.
    pub fn wait_for_text(&self, selector: &str, text: &str) {
        let condition = format!(
            "[...document.querySelectorAll({})].some(it => it.innerText.includes({}))",
            json!(selector),
            json!(text)
        );
        self.wait_for(&format!("{selector} says {text:?}"), &condition);
    }

    /// The text of an element, as it is seen.
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        let text =
            self.eval(&format!("document.querySelector({})?.innerText ?? ''", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks on the middle of an element, as a mouse does.
    ///
    /// # Panics
    /// When it is not there, or something lies over it.
    pub fn click(&self, selector: &str) {
        let selector = json!(selector);
        self.wait_for(
            &format!("{selector} is there"),
            &format!("document.querySelector({selector})?.offsetParent"),
        );
        let place = self.eval(&format!(
            "(() => {{ const it = document.querySelector({selector}); it.scrollIntoView({{block: 'center'}}); \
             const box = it.getBoundingClientRect(); const x = box.x + box.width / 2, y = box.y + box.height / 2; \
             const over = document.elementFromPoint(x, y); \
             return {{x, y, free: it === over || it.contains(over) || over?.contains(it)}} }})()"
        ));
        assert_eq!(place["free"], true, "something lies over {selector}");
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Puts a text where the focus is, as if typed.
    pub fn type_text(&self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Presses and releases a key that gives this character.
    pub fn press(&self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event =
                json!({"type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Keeps a picture of it below the target folder, as `tmp/web/<name>.png`.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn picture(&self, name: &str) {
        let picture = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let text = picture["data"].as_str().expect("a picture");
        let folder = target().join("tmp/web");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let picture = STANDARD.decode(text).expect("pictures come in Base64");
        fs::write(folder.join(format!("{name}.png")), picture).expect("a picture can be kept");
    }

    /// What the page has complained of since it was opened: errors on its console, exceptions that nobody caught, and what its
    /// policy forbade.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.browser.catch_up();
        let events = self.browser.events.borrow();
        let ours = events.iter().filter(|event| event["sessionId"] == self.session.as_str());
        let complaint = |event: &Value| {
            let told = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(told["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled"
                    if ["error", "assert"].iter().any(|it| told["type"] == *it) =>
                {
                    Some(told["args"].to_string())
                }
                "Log.entryAdded" if told["entry"]["level"] == "error" => {
                    let entry = &told["entry"];
                    let text = entry["text"].as_str().unwrap_or_default();
                    // A question that is answered with a no.
                    let is_no = entry["source"] == "network" && text.contains("status of 4");
                    (!is_no).then(|| entry.to_string())
                }
                _ => None,
            }
        };
        ours.filter_map(complaint).collect()
    }

    /// The addresses that it has asked for.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.browser.catch_up();
        let events = self.browser.events.borrow();
        let requests = events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let ours = requests.filter(|event| event["sessionId"] == self.session.as_str());
        ours.filter_map(|event| Some(event["params"]["request"]["url"].as_str()?.to_owned()))
            .collect()
    }

    /// Takes the next event of this kind, if one has come.
    #[must_use]
    pub fn event(&self, method: &str) -> Option<Value> {
        self.browser.catch_up();
        let mut events = self.browser.events.borrow_mut();
        let is_it = |event: &Value| {
            event["method"] == method && event["sessionId"] == self.session.as_str()
        };
        let at = events.iter().position(is_it)?;
        Some(events.remove(at)["params"].clone())
    }
}

/// Bytes as the protocol takes them, in Base64.
#[must_use]
pub fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
