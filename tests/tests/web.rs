//! The web page in a real browser: a job from the submit page to its end, a failed attempt's log, a job that is killed, files
//! up and down, a token where one is needed; ten thousand tasks; and what no text of a job or file may do. Pictures are kept
//! below the target folder, as `tmp/web/*.png`.

use std::fs;

use serde_json::{Value, json};
use tests::binary::target;
use tests::browser::{Browser, Page};
use tests::cluster::PATIENCE;
use tests::{Dev, DevOptions, http, wait};

const SIZE: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 780);
/// What a job, or a file, would be called by one who wants the page to run something.
const EVIL: &str = "<img src=x onerror=document.title=1>";
/// Time in which ten thousand tasks must be drawn, milliseconds, on a machine that does nothing else.
const DRAWN_WITHIN_MS: f64 = 1000.0;

fn home(dev: &Dev) -> String {
    format!("http://{}/", dev.jobtracker())
}

/// The newest job whose name holds this.
fn job_named(dev: &Dev, name: &str) -> String {
    wait::until("the job is known", PATIENCE, || {
        let jobs = http::get(&dev.jobtracker(), "/v1/jobs").ok()?.body["jobs"].clone();
        let found = jobs
            .as_array()?
            .iter()
            .find(|job| job["name"].as_str().is_some_and(|it| it.contains(name)))?;
        Some(found["id"].as_str()?.to_owned())
    })
}

/// Puts a text in the field of the submit page in place of what is there.
fn write_job(page: &Page<'_>, text: &str) {
    page.wait_for("the editor is there", "document.querySelector('textarea')");
    let _ = page.eval(
        "(() => { const it = document.querySelector('textarea'); it.focus(); it.select(); })()",
    );
    page.type_text(text);
}

/// No error on the console, and nothing asked of another host.
fn is_content(page: &Page<'_>, dev: &Dev) {
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "the page complains: {complaints:#?}");
    let own = home(dev);
    for asked in page.asked() {
        let is_own =
            asked.starts_with(&own) || asked.starts_with("blob:") || asked.starts_with("about:");
        assert!(is_own, "the page asks another host: {asked}");
    }
}

#[test]
fn a_user_does_in_the_browser_what_a_user_does() {
    let dev = Dev::start(&DevOptions::trackers(3));
    let Some(browser) = Browser::start() else { return };
    let page = browser.page(SIZE);
    page.open(&home(&dev));
    page.wait_for_text("main table", "host-3");
    page.wait_for_text("#live", "live");
    page.wait_for_text(".figure", "of 3");
    page.picture("cluster");
    uploads_and_looks_at_a_file(&dev, &page);
    submits_a_job_and_watches_it(&dev, &page);
    finds_out_why_a_job_failed(&dev, &page);
    kills_a_job(&dev, &page);
    goes_about_by_keys(&page);
    is_content(&page, &dev);
    is_readable_on_a_phone_and_in_the_dark(&dev, &page);
    is_accessible(&dev, &page);
}

fn uploads_and_looks_at_a_file(dev: &Dev, page: &Page<'_>) {
    let _ = dev.run(&["fs", "mkdir", "/in"]).success();
    let evil = format!("/in/{EVIL}");
    dev.put_text("<script>document.title = 1</script>\n", &evil);
    page.open(&format!("{}#/files/in", home(dev)));
    page.wait_for_text("main table", EVIL);
    let text = "to be or not to be\n".repeat(1000);
    let _ = page.eval(&format!(
        "(() => {{ const data = new DataTransfer(); data.items.add(new File([{}], 'hamlet.txt')); \
         const it = document.querySelector('input[type=file]'); it.files = data.files; \
         it.dispatchEvent(new Event('change')); }})()",
        json!(text)
    ));
    page.wait_for_text("main table", "hamlet.txt");
    page.picture("files");
    let read = dev.run(&["fs", "cat", "/in/hamlet.txt"]).success();
    assert_eq!(read.stdout, text.as_bytes());
    page.open(&format!(
        "{}#/files/in/{}",
        home(dev),
        "%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D1%3E"
    ));
    page.wait_for_text("pre.log", "<script>document.title = 1</script>");
    page.picture("file");
    assert!(!page.eval("document.title").as_str().unwrap_or_default().starts_with('1'));
    let _ = dev.run(&["fs", "rm", &evil]).success();
}

fn submits_a_job_and_watches_it(dev: &Dev, page: &Page<'_>) {
    page.open(&format!("{}#/submit", home(dev)));
    write_job(page, "name: wrong\ninput: [/in]\noutput: /out\nprogramm: {}\n");
    page.click("main form button:not([type=submit])");
    page.wait_for_text(".notice.bad", "programm");
    page.wait_for_text(".line-numbers .wrong", "4");
    page.picture("submit-wrong");
    write_job(
        page,
        "name: word count\ninput: [/in]\noutput: /out\nprogram:\n  builtin: {name: wordcount}\nreduces: 4\n",
    );
    page.click("main form button:not([type=submit])");
    page.wait_for_text(".notice.good", "can be submitted");
    page.click("main form button[type=submit]");
    page.wait_for_text("h1", "word count");
    page.wait_for_text(".badge", "succeeded");
    page.wait_for(
        "its five attempts are drawn",
        "document.querySelector('.timeline').dataset.attempts === '5'",
    );
    page.picture("job");
    let id = job_named(dev, "word count");
    let job = dev.job(&id);
    assert_eq!(job["state"], "SUCCEEDED");
    for (tab, selector, text) in [
        ("partitions", "main table", "Partition"),
        ("counters", "main table", "MAP_INPUT_RECORDS"),
        ("explain", ".path", "after the submission"),
        ("attempts", "main table", "_r_000003_0"),
        ("spec", "pre.spec", "name: word count"),
    ] {
        page.click(&format!("#tab-{tab}"));
        page.wait_for_text(selector, text);
        page.picture(&format!("job-{tab}"));
    }
    page.open(&format!("{}#/history", home(dev)));
    page.wait_for_text("main table", "word count");
    page.picture("history");
}

fn finds_out_why_a_job_failed(dev: &Dev, page: &Page<'_>) {
    page.open(&format!("{}#/submit", home(dev)));
    let job = json!({
        "name": EVIL, "input": ["/in"], "output": "/bad", "max_attempts": 2,
        "program": {"streaming": {"mapper": "sh -c 'echo the disk of dreams is full >&2; exit 3'", "reducer": "cat"}},
    });
    // JSON is YAML, too.
    write_job(page, &job.to_string());
    page.click("main form button[type=submit]");
    page.wait_for_text(".badge", "failed");
    page.wait_for_text("h1", EVIL);
    assert_eq!(page.eval("document.querySelectorAll('main img').length"), 0);
    page.click("#tab-failures");
    page.wait_for_text(".failure pre", "the disk of dreams is full");
    page.picture("job-failures");
    page.click(".failure a");
    page.wait_for_text("pre.log", "the disk of dreams is full");
    page.wait_for_text(".badge", "failed");
    page.picture("log");
    page.open(&format!("{}#/jobs", home(dev)));
    page.wait_for_text("main table", EVIL);
    assert_eq!(page.eval("document.querySelectorAll('main img').length"), 0);
    assert_ne!(page.eval("document.title"), "1");
}

fn kills_a_job(dev: &Dev, page: &Page<'_>) {
    page.open(&format!("{}#/submit", home(dev)));
    let job = json!({
        "name": "endless", "input": ["/in"], "output": "/never",
        "program": {"streaming": {"mapper": "sh -c 'echo begun >&2; exec tail -f /dev/null'", "reducer": "cat"}},
    });
    write_job(page, &job.to_string());
    page.click("main form button[type=submit]");
    page.wait_for_text(".badge", "running");
    page.wait_for("it is drawn", "document.querySelector('.timeline').dataset.attempts > 0");
    let id = job_named(dev, "endless");
    page.open(&format!("{}#/jobs/{id}/attempt_{}_m_000000_0", home(dev), &id[4..]));
    page.wait_for_text("pre.log", "begun");
    page.wait_for_text(".badge", "running");
    page.open(&format!("{}#/jobs/{id}", home(dev)));
    page.wait_for_text(".head button", "Pause");
    page.click("main .head .button:not(.danger)");
    page.wait_for_text(".badge", "paused");
    page.click("main .head .danger");
    page.wait_for_text("dialog", "Kill");
    page.picture("kill");
    page.click("dialog .danger");
    page.wait_for_text(".badge", "killed");
    assert_eq!(dev.job(&id)["state"], "KILLED");
}

fn goes_about_by_keys(page: &Page<'_>) {
    page.press("g");
    page.press("j");
    page.wait_for_text("h1", "Jobs");
    page.wait_for("there are jobs", "document.querySelectorAll('main tr[data-row]').length >= 3");
    page.press("j");
    page.press("j");
    let focused = page.eval(
        "[...document.querySelectorAll('main tr[data-row]')].indexOf(document.activeElement)",
    );
    assert_eq!(focused, 1, "the second row");
    page.press("k");
    page.press("/");
    assert_eq!(page.eval("document.activeElement.type"), "search");
    page.type_text("word");
    page.wait_for("one is left", "document.querySelectorAll('main tr[data-row]').length === 1");
    page.press("Escape");
    page.press("?");
    page.wait_for_text("dialog", "Keys");
    page.press("Escape");
    page.wait_for("it is closed", "!document.querySelector('dialog')");
    page.press("t");
    page.press("t");
    assert_eq!(page.eval("document.documentElement.dataset.theme"), "dark");
    page.picture("jobs-dark");
    page.press("t");
}

fn is_readable_on_a_phone_and_in_the_dark(dev: &Dev, page: &Page<'_>) {
    page.resize(PHONE);
    let id = job_named(dev, "word count");
    for (name, path) in [
        ("cluster", "cluster"),
        ("jobs", "jobs"),
        ("job", &format!("jobs/{id}")),
        ("files", "files"),
    ] {
        page.open(&format!("{}#/{path}", home(dev)));
        page.wait_for("it is there", "document.querySelector('main h1')");
        page.wait_for_text("#live", "live");
        page.wait_for(
            "nothing is wider than the screen",
            "document.documentElement.scrollWidth <= innerWidth",
        );
        page.picture(&format!("phone-{name}"));
    }
    page.resize(SIZE);
}

/// By axe-core, where `./check` has fetched it; the main rules in any case.
fn is_accessible(dev: &Dev, page: &Page<'_>) {
    let axe = fs::read_to_string(target().join("tools/axe/package/axe.min.js")).ok();
    if axe.is_none() {
        println!("skipped: no axe-core; ./check fetches it by npm");
    }
    // It changes the page in ways that the page's own policy forbids.
    page.call("Page.setBypassCSP", &json!({"enabled": true}));
    let id = job_named(dev, "word count");
    let failed = job_named(dev, "onerror");
    for theme in ["light", "dark"] {
        let _ = page.eval(&format!("localStorage.setItem('howdah.theme', '{theme}')"));
        for path in [
            "cluster".to_owned(),
            "jobs".to_owned(),
            format!("jobs/{id}"),
            format!("jobs/{id}/partitions"),
            format!("jobs/{failed}/failures"),
            format!("jobs/{id}/attempts"),
            format!("jobs/{id}/counters"),
            format!("jobs/{id}/explain"),
            format!("jobs/{failed}/attempt_{}_m_000000_0", &failed[4..]),
            "history".to_owned(),
            "files/in".to_owned(),
            "files/in/hamlet.txt".to_owned(),
            "submit".to_owned(),
        ] {
            // Another query is another page: axe-core is not left from the one before.
            let query = path.replace('/', "-");
            page.open(&format!("{}?{theme}-{query}#/{path}", home(dev)));
            page.wait_for(
                "it is there",
                "document.querySelector('main h1') && document.querySelector('main table, main pre, main textarea, main input, main .timeline')",
            );
            page.wait_for_text("#live", "live");
            assert_eq!(page.eval("document.documentElement.dataset.theme"), theme);
            let wrong = page.eval(MAIN_RULES);
            assert_eq!(wrong, json!([]), "#/{path}");
            if let Some(axe) = &axe {
                let _ = page.eval(&format!("(() => {{ {axe} }})()"));
                let found = page.eval(AXE);
                assert_eq!(found, json!([]), "axe-core on #/{path}, {theme}");
            }
        }
    }
    page.call("Page.setBypassCSP", &json!({"enabled": false}));
    let _ = page.eval("localStorage.clear()");
}

/// What axe-core calls serious or critical, in short.
const AXE: &str = "axe.run(document, {resultTypes: ['violations']}).then(told => told.violations \
    .filter(it => ['serious', 'critical'].includes(it.impact)) \
    .map(it => `${it.id}: ${it.help}: ${it.nodes.slice(0, 3).map(node => node.html + ' ' + node.failureSummary).join(' | ')}`))";

/// Whatever can be used has a name, ids are there once, there is one heading of the first kind, and a language.
const MAIN_RULES: &str = "(() => { const wrong = []; \
    const named = it => it.getAttribute('aria-label') || it.labels?.length || it.innerText?.trim() || it.title; \
    for (const it of document.querySelectorAll('a, button, input:not([hidden]), select, textarea, [role=img]')) \
        if (!it.hidden && !named(it)) wrong.push('no name: ' + it.outerHTML.slice(0, 120)); \
    const ids = [...document.querySelectorAll('[id]')].map(it => it.id); \
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push('twice: ' + id); \
    if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1'); \
    if (document.documentElement.lang !== 'en') wrong.push('no language'); \
    for (const it of document.querySelectorAll('table')) if (!it.caption) wrong.push('a table without a caption'); \
    return wrong; })()";

#[test]
fn where_a_token_is_needed_the_page_asks_for_one_and_sends_it_in_no_address() {
    let dev = Dev::start(&DevOptions::trackers(1).set("cluster.anonymous_loopback=false"));
    let token = dev.run(&["token", "--expires", "1h"]).success().text();
    let Some(browser) = Browser::start() else { return };
    let page = browser.page(SIZE);
    page.open(&home(&dev));
    page.wait_for_text("dialog h2", "asks for a token");
    page.picture("token");
    page.type_text("no-token");
    page.press("Enter");
    page.wait_for_text("dialog .quiet", "token");
    page.wait_for("it asks again", "document.querySelector('dialog input')?.value === ''");
    page.type_text(&token);
    page.press("Enter");
    page.wait_for_text("main table", "host-1");
    page.wait_for_text("#live", "live");
    assert_eq!(page.eval("sessionStorage.getItem('howdah.token')"), token.as_str());
    assert_eq!(
        page.eval("JSON.stringify(localStorage).includes(sessionStorage.getItem('howdah.token'))"),
        false
    );
    assert_eq!(page.eval("document.cookie"), "");
    assert!(page.asked().iter().all(|address| !address.contains(token.trim())));
}

/// A time line of ten thousand attempts on two hundred hosts, as the JobTracker would tell it.
fn many_attempts(job: &str) -> Vec<Value> {
    let begin = 1_795_305_600_000_u64;
    let attempt = |task: u64| {
        let (host, turn) = (task % 200, task / 400);
        let began = begin + turn * 4000 + host * 7 + (task % 400) / 200 * 13;
        let state = match task % 97 {
            0 => "FAILED",
            1 => "KILLED",
            _ => "SUCCEEDED",
        };
        let kind = if task < 9600 { "m" } else { "r" };
        let place = match task % 4 {
            0 | 1 => "node_local",
            2 => "rack_local",
            _ => "off_rack",
        };
        json!({
            "attempt": format!("attempt_{}_{kind}_{task:06}_0", &job[4..]), "host": format!("host-{host}"), "state": state,
            "place": place,
            "began_at": began, "ended_at": began + 3000 + (task * 7919) % 900, "bytes": 64 << 20,
        })
    };
    (0..10_000).map(attempt).collect()
}

#[test]
fn a_job_of_ten_thousand_tasks_is_drawn_at_once_and_scrolls() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let Some(browser) = Browser::start() else { return };
    let page = browser.page(SIZE);
    let id = "job_20261122_0001";
    let counts = |total: u64| {
        json!({"total": total, "waiting": 0, "running": 0, "succeeded": total, "attempts": total, "failed_attempts": 104,
               "killed_attempts": 104, "node_local": total / 2, "rack_local": total / 4, "off_rack": total / 4})
    };
    let job = json!({
        "id": id, "name": "ten thousand", "state": "SUCCEEDED", "priority": "normal", "pool": "default", "paused": false,
        "maps": counts(9600), "reduces": counts(400), "failure": null, "output": "/out", "input_bytes": 644_245_094_400_u64,
        "submitted_at": 1_795_305_599_000_u64, "finished_at": 1_795_305_704_000_u64,
    });
    let attempts = many_attempts(id);
    let (first, second) = attempts.split_at(5000);
    let now = 1_795_305_705_000_u64;
    let answers = [
        (format!("/v1/jobs/{id}/timeline?first="), json!({"now": now, "attempts": second})),
        (format!("/v1/jobs/{id}/timeline"), json!({"now": now, "attempts": first, "next": 5000})),
        (format!("/v1/jobs/{id}"), job),
    ];
    page.open(&home(&dev));
    page.call("Fetch.enable", &json!({"patterns": [{"urlPattern": format!("*{id}*")}]}));
    let _ = page.eval(&format!("(location.hash = '#/jobs/{id}')"));
    wait::until("all is drawn", PATIENCE, || {
        if let Some(paused) = page.event("Fetch.requestPaused") {
            let url = paused["request"]["url"].as_str().expect("a URL").to_owned();
            match answers.iter().find(|(path, _)| url.contains(path.as_str())) {
                Some((_, answer)) => answer_with(&page, &paused, answer),
                None => {
                    page.call("Fetch.continueRequest", &json!({"requestId": paused["requestId"]}));
                }
            }
        }
        (page.eval("document.querySelector('.timeline')?.dataset.attempts") == "10000")
            .then_some(())
    });
    page.picture("ten-thousand");
    // From all that is known to a picture: sorting into rows, and one drawing. The best of some, since others may be busy here.
    let once = "(async () => { const it = document.querySelector('.timeline'); const begun = performance.now(); \
        it.redraw(); await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame); \
        return performance.now() - begun; })()";
    let times = (0..5).filter_map(|_| page.eval(once).as_f64());
    let took = times.fold(f64::INFINITY, f64::min);
    let scrolled = page.eval("(async () => { const view = document.querySelector('.tl-view'); const it = document.querySelector('.timeline'); \
        const times = []; const high = view.scrollHeight - view.clientHeight; \
        for (let step = 1; step <= 60; step += 1) { view.scrollTop = high * step / 60; await new Promise(requestAnimationFrame); \
          await new Promise(requestAnimationFrame); times.push(Number(it.dataset.drawMs)); } \
        times.sort((a, b) => a - b); return {top: view.scrollTop, high, median: times[30], worst: times[59]}; })()");
    println!("10,000 tasks: drawn within {took} ms, one drawing while scrolling {scrolled}");
    assert!(took <= DRAWN_WITHIN_MS, "{took} ms");
    assert!(scrolled["high"].as_f64() > Some(1000.0), "there is much to scroll: {scrolled}");
    assert!(
        scrolled["median"].as_f64().is_some_and(|ms| ms <= 16.0),
        "a drawing takes no longer than a frame: {scrolled}"
    );
    page.picture("ten-thousand-scrolled");
}

fn answer_with(page: &Page<'_>, paused: &Value, answer: &Value) {
    let body = tests::browser::encoded(answer.to_string().as_bytes());
    let headers = [json!({"name": "content-type", "value": "application/json"})];
    let asked = json!({"requestId": paused["requestId"], "responseCode": 200, "responseHeaders": headers, "body": body});
    page.call("Fetch.fulfillRequest", &asked);
}

#[test]
fn files_and_logs_pass_by_curl_with_the_callers_rights_and_are_nobodys_page() {
    let dev = Dev::start(&DevOptions::trackers(1).set("cluster.anonymous_loopback=false"));
    let token = |arguments: &[&str]| {
        let all = [&["token", "--expires", "1h"], arguments].concat();
        format!("Authorization: Bearer {}", dev.run(&all).success().text())
    };
    let (all, of_in, reader) = (token(&[]), token(&["--path", "/in"]), token(&["--read-only"]));
    let address = dev.jobtracker();
    let send = |method: &str, path: &str, token: &str, body: &str| {
        http::request(&address, method, path, &[token], body).expect("an answer")
    };
    let page = "<html><script>alert(1)</script></html>";
    let path = "/v1/files/content?path=/in/a.html&parents=true";
    assert_eq!(send("PUT", path, &reader, page).status, 403);
    assert_eq!(send("PUT", path, "X-None: 1", page).status, 401);
    let made = send("PUT", path, &of_in, page);
    assert_eq!(
        (made.status, made.body["length"].as_u64()),
        (201, Some(page.len() as u64)),
        "{}",
        made.text
    );
    assert_eq!(send("PUT", path, &of_in, page).status, 409, "it is there");
    assert_eq!(send("PUT", "/v1/files/content?path=/out/b&parents=true", &of_in, page).status, 403);
    let read = send("GET", "/v1/files/content?path=/in/a.html", &of_in, "");
    assert_eq!((read.status, read.text.as_str()), (200, page));
    assert_eq!(read.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(read.header("x-content-type-options"), Some("nosniff"));
    assert!(read.header("content-disposition").is_some_and(|it| it.starts_with("attachment")));
    assert!(read.header("content-security-policy").is_some_and(|it| it.contains("sandbox")));
    let part = send("GET", "/v1/files/content?path=/in/a.html&offset=6&length=8", &of_in, "");
    assert_eq!(part.text, "<script>");
    ranges_are_given_as_the_standard_says(&address, &all);
    files_are_replaced_and_removed(&address, &all, &of_in, &reader);
    for (path, token, status) in [
        ("/v1/files/content?path=/in/none", &all, 404),
        ("/v1/files/content?path=/in", &all, 409),
        ("/v1/files/content?path=in", &all, 400),
        ("/v1/files?path=/", &of_in, 403),
        ("/v1/files?path=/in", &of_in, 200),
        ("/v1/files/stat?path=/in/a.html", &of_in, 200),
        ("/v1/files?path=/in&limit=x", &of_in, 400),
        ("/v1/store/report", &reader, 200),
    ] {
        let answer = send("GET", path, token, "");
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
}

fn ranges_are_given_as_the_standard_says(address: &str, token: &str) {
    let send = |method: &str, headers: &[&str], body: &str| {
        let headers = [&[token], headers].concat();
        let path = "/v1/files/content?path=/in/digits";
        http::request(address, method, path, &headers, body).expect("an answer")
    };
    assert_eq!(send("PUT", &[], "0123456789").status, 201);
    assert_eq!(send("GET", &[], "").header("accept-ranges"), Some("bytes"));
    for (range, bytes, place) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
    ] {
        let answer = send("GET", &[&format!("Range: {range}")], "");
        assert_eq!((answer.status, answer.text.as_str()), (206, bytes), "{range}");
        assert_eq!(answer.header("content-range"), Some(place));
        assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()));
    }
    let beyond = send("GET", &["Range: bytes=10-"], "");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    assert_eq!(beyond.body["type"], "invalid-request");
    for whole in [&["Range: bytes=0-1,4-5"][..], &["Range: bytes=0-1", "If-Range: \"x\""]] {
        let answer = send("GET", whole, "");
        assert_eq!((answer.status, answer.text.as_str()), (200, "0123456789"), "{whole:?}");
    }
}

fn files_are_replaced_and_removed(address: &str, all: &str, of_in: &str, reader: &str) {
    let send = |method: &str, path: &str, token: &str, body: &str| {
        let path = format!("/v1/files/content?path={path}");
        http::request(address, method, &path, &[token], body).expect("an answer")
    };
    let names = || {
        let listed = http::request(address, "GET", "/v1/files?path=/in", &[all], "");
        let listed = listed.expect("an answer").body["entries"].clone();
        let names =
            listed.as_array().expect("entries").iter().map(|entry| entry["path"].to_string());
        names.collect::<Vec<_>>()
    };
    let before = names();
    assert_eq!(send("PUT", "/in/digits&replace=true", reader, "new").status, 403);
    let replaced = send("PUT", "/in/digits&replace=true", of_in, "new");
    assert_eq!((replaced.status, &replaced.body["path"]), (201, &"/in/digits".into()));
    assert_eq!(send("GET", "/in/digits", all, "").text, "new");
    for (condition, replaces) in
        [("If-Match: \"1\"", true), ("If-None-Match: *", true), ("If-Match: \"1\"", false)]
    {
        let path = format!("/v1/files/content?path=/in/digits&replace={replaces}");
        let refused = http::request(address, "PUT", &path, &[of_in, condition], "lost");
        let refused = refused.expect("an answer");
        assert_eq!(refused.status, 400, "{condition}");
        assert!(refused.text.contains("e-tags"), "{}", refused.text);
    }
    assert_eq!(send("GET", "/in/digits", all, "").text, "new");
    assert_ne!(send("PUT", "/in&replace=true", all, "new").status, 201, "a folder stays");
    assert_eq!(names(), before, "nothing unfinished stays");
    assert_eq!(send("PUT", "/in/first&replace=true", of_in, "x").status, 201);
    assert_eq!(send("DELETE", "/in/first", reader, "").status, 403);
    assert_eq!(send("DELETE", "/in/first&skip_trash=true", of_in, "").status, 204);
    let trash = || http::request(address, "GET", "/v1/files?path=/.howdah/trash", &[all], "");
    let n_kept = || trash().expect("an answer").body["entries"].as_array().map_or(0, Vec::len);
    assert_eq!(n_kept(), 0, "it is gone for good");
    assert_eq!(send("DELETE", "/in/digits", of_in, "").status, 204);
    assert_eq!(n_kept(), 1, "it is in the trash");
    assert_eq!(send("DELETE", "/in/digits", of_in, "").status, 404);
    let folder = send("DELETE", "/in", all, "");
    assert_eq!((folder.status, &folder.body["type"]), (409, &"invalid-request".into()));
}
