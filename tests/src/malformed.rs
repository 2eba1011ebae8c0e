//! Requests that are none, or hardly: bytes, broken heads, unfinished bodies, and JSON that no parser likes.

use crate::fuzz::{Dice, nested};

/// First lines.
const LINES: [&str; 13] = [
    "GET / HTTP/9.9",
    "GET /",
    "GET  / HTTP/1.1",
    "\r\n\r\n",
    "GET\t/\tHTTP/1.1",
    "get / http/1.1",
    "GET http://evil.example/v1/jobs HTTP/1.1",
    "CONNECT a:1 HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET /\0 HTTP/1.1",
    "GET /v1/../../etc/passwd HTTP/1.1",
    "GET /%zz HTTP/1.1",
    "GET /\u{e9} HTTP/1.1",
];

/// Header lines behind a line that is right.
const HEADERS: [&str; 19] = [
    "no colon\r\n",
    ": no name\r\n",
    "A\0: b\r\n",
    "A: \0\r\n",
    " folded: a\r\n",
    "A: b\n B: c\r\n",
    "Host: a\r\nHost: b\r\n",
    "Upgrade: websocket\r\n",
    "Expect: 100-continue\r\nContent-Length: 9\r\n",
    "Content-Encoding: gzip\r\nContent-Length: 1\r\n",
    "Range: bytes=-1\r\n",
    "Accept: \u{fffd}\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: x\r\n",
    "Content-Length: 1\r\nContent-Length: 2\r\n",
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Content-Length: 18446744073709551615\r\n",
];

/// Sizes of chunks, and what comes of them.
const CHUNKS: [&str; 6] =
    ["FFFFFFFFFFFFFFFFF", "-1", "zz", "5\r\nab", "0", "ffffffffffffffff\r\nab"];

/// One for a daemon with these routes.
pub fn malformed(dice: &mut Dice, routes: &[&str]) -> Vec<u8> {
    let route = dice.pick(routes).replace(['{', '}'], "");
    match dice.below(5) {
        0 => no_request(dice),
        1 => broken_head(dice, &route),
        2 => long_head(dice, &route),
        3 => unfinished(dice, &route),
        _ => bad_json(dice, &route),
    }
}

fn head(line: &str, headers: &str) -> Vec<u8> {
    format!("{line}\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").into_bytes()
}

fn to_route(dice: &mut Dice, route: &str, headers: &str) -> Vec<u8> {
    let method = *dice.pick(&["GET", "POST", "PUT", "DELETE", "BREW", ""]);
    head(&format!("{method} {route} HTTP/1.1"), headers)
}

fn no_request(dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(1 + dice.below(50)),
        2 => head(dice.pick::<&str>(&LINES), ""),
        _ => {
            let length = dice.below(2000);
            dice.bytes(length)
        }
    }
}

fn broken_head(dice: &mut Dice, route: &str) -> Vec<u8> {
    let headers = *dice.pick(&HEADERS);
    to_route(dice, route, headers)
}

fn long_head(dice: &mut Dice, route: &str) -> Vec<u8> {
    let n = dice.below(1000);
    match dice.below(4) {
        0 => to_route(dice, route, &format!("X: {}\r\n", "y".repeat(200_000 + 300 * n))),
        1 => to_route(dice, route, &"X: y\r\n".repeat(100 + 2 * n)),
        2 => head(&format!("GET {route}?{} HTTP/1.1", "a=%ff&".repeat(1 + 12 * n)), ""),
        _ => to_route(dice, route, &format!("Authorization: Bearer {}\r\n", "e".repeat(20 * n))),
    }
}

/// What ends before it is whole.
fn unfinished(dice: &mut Dice, route: &str) -> Vec<u8> {
    match dice.below(3) {
        0 => {
            let whole = to_route(dice, route, "Content-Length: 0\r\n");
            [whole[..dice.below(whole.len())].to_vec(), dice.bytes(20)].concat()
        }
        1 => {
            let chunk = format!("{}\r\n", dice.pick(&CHUNKS));
            let head = to_route(dice, route, "Transfer-Encoding: chunked\r\n");
            [head, chunk.into_bytes()].concat()
        }
        _ => {
            let promised = 10 + dice.below(1 << 30);
            let headers =
                format!("Content-Type: application/json\r\nContent-Length: {promised}\r\n");
            let part = dice.below(2000);
            [to_route(dice, route, &headers), dice.bytes(part)].concat()
        }
    }
}

fn bad_json(dice: &mut Dice, route: &str) -> Vec<u8> {
    let n = dice.below(2000);
    let body = match dice.below(6) {
        0 => nested(100_000),
        1 => [b"{\"a\":".repeat(20_000), b"1".to_vec(), b"}".repeat(20_000)].concat(),
        2 => b"{\"path\": \"\xff\xfe\xc0\xaf\"}".to_vec(),
        3 => format!("{{\"limit\": {}}}", "9".repeat(1 + n)).into_bytes(),
        4 => "\u{feff}{\"path\": \"/\"}".encode_utf16().flat_map(u16::to_le_bytes).collect(),
        _ => format!("{{{}}}", "\"path\": \"/\",".repeat(1 + n)).into_bytes(),
    };
    let length = body.len();
    let headers = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    [head(&format!("POST {route} HTTP/1.1"), &headers), body].concat()
}
