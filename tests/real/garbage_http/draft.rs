//! Requests that were valid at first.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::dice::Dice;
use super::words::{BODIES, HEADERS, METHODS, RAW, TARGETS, VALUES, VERSIONS};

/// A request, still in parts.
pub struct Draft {
    method: Vec<u8>,
    target: Vec<u8>,
    version: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    framing: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    /// `Content-Length`, as it is.
    Length,
    /// Too long or too short by this many bytes.
    Lie(isize),
    Chunked,
    /// Chunks that break off or have invalid sizes.
    BadChunks,
    /// Both at once (RFC 9112 §6.3: request smuggling).
    Both,
    Nothing,
}

const REVISION: &str = "2026-07-28";

/// Returns the bytes that are sent in place of a request.
pub fn garbage(dice: &mut Dice, host: &str, sessions: &[String]) -> Vec<u8> {
    if dice.one_in(30) {
        let mut raw = dice.pick(&RAW).to_vec();
        raw.extend(dice.bytes(200));
        return raw;
    }
    let mut draft = good(dice, host, sessions);
    for _ in 0..=dice.below(3) {
        draft.spoil(dice, sessions);
    }
    draft.bytes(dice)
}

fn good(dice: &mut Dice, host: &str, sessions: &[String]) -> Draft {
    let session = if sessions.is_empty() { "none" } else { &sessions[dice.below(sessions.len())] };
    let tool = dice.pick(&["open", "connect"]);
    let (method, params) = match dice.below(7) {
        0 => (
            "initialize",
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"elicitation": {"form": {}, "url": {}}},
                "clientInfo": {"name": "garbage", "version": "1"},
            }),
        ),
        1 | 2 => ("tools/list", json!({})),
        3 => ("ping", json!({})),
        4 => ("server/discover", json!({})),
        _ => ("tools/call", json!({"name": tool, "arguments": {}})),
    };
    let mut message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let mut headers = vec![
        ("host", host.to_owned()),
        ("accept", "application/json, text/event-stream".into()),
        ("content-type", "application/json".into()),
    ];
    let (mut verb, mut target) = ("POST", "/mcp".to_owned());
    match dice.below(10) {
        0..4 => {
            message["params"]["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": REVISION,
                "io.modelcontextprotocol/clientInfo": {"name": "garbage", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            headers.push(("mcp-protocol-version", REVISION.into()));
            headers.push(("mcp-method", method.into()));
            if method == "tools/call" {
                headers.push(("mcp-name", tool.into()));
            }
        }
        4 | 5 => {
            if method != "initialize" {
                headers.push(("mcp-session-id", session.into()));
                headers.push(("mcp-protocol-version", "2025-11-25".into()));
            }
        }
        6 | 7 => target = format!("/messages?sessionId={session}"),
        8 => {
            verb = "GET";
            target = dice.pick(&["/mcp", "/sse", "/health", "/connections"]).into();
            headers.push(("mcp-session-id", session.into()));
        }
        _ => {
            verb = "DELETE";
            headers.push(("mcp-session-id", session.into()));
        }
    }
    let body = if verb == "POST" { message.to_string().into_bytes() } else { Vec::new() };
    let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Draft {
        method: verb.into(),
        target: target.into(),
        version: b"HTTP/1.1".to_vec(),
        headers,
        framing: if body.is_empty() { Framing::Nothing } else { Framing::Length },
        body,
    }
}

impl Draft {
    fn spoil(&mut self, dice: &mut Dice, sessions: &[String]) {
        match dice.below(20) {
            0 => self.method = dice.pick(&METHODS).to_vec(),
            1 => self.target = dice.pick(&TARGETS).to_vec(),
            2 if dice.one_in(3) => self.version = dice.pick(&VERSIONS).to_vec(),
            3 => {
                let gone = dice.below(self.headers.len());
                if gone < self.headers.len() {
                    self.headers.remove(gone);
                }
            }
            4 | 5 => {
                let other = dice.below(self.headers.len());
                if let Some((_, value)) = self.headers.get_mut(other) {
                    *value = dice.pick(&VALUES).to_vec();
                }
            }
            6 | 7 => {
                let (name, value) = (dice.pick(&HEADERS), dice.pick(&VALUES));
                self.headers.push((name.to_vec(), value.to_vec()));
            }
            8 => {
                let twice = dice.below(self.headers.len());
                self.headers.extend(self.headers.get(twice).cloned());
            }
            9 => self.much(dice),
            10 | 11 => self.body = dice.pick(&BODIES).to_vec(),
            12..15 => self.another_value(dice),
            15 => self.damage(dice),
            16 => {
                const FRAMINGS: [&Framing; 7] = [
                    &Framing::Lie(-3),
                    &Framing::Lie(5),
                    &Framing::Chunked,
                    &Framing::Chunked,
                    &Framing::BadChunks,
                    &Framing::Both,
                    &Framing::Nothing,
                ];
                self.framing = *dice.pick(&FRAMINGS);
            }
            17 => self.headers.push((b"expect".to_vec(), b"100-continue".to_vec())),
            18 => {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
                let _ = gzip.write_all(&self.body);
                self.body = gzip.finish().unwrap_or_default();
                self.headers.push((b"content-encoding".to_vec(), b"gzip".to_vec()));
            }
            _ => {
                let session = sessions.get(dice.below(sessions.len() + 1));
                let session = session.map_or("a-session-of-nobody", String::as_str);
                self.headers.push((b"mcp-session-id".to_vec(), session.into()));
            }
        }
    }

    /// Makes one part larger than any client needs.
    fn much(&mut self, dice: &mut Dice) {
        match dice.below(6) {
            0 => self.headers.extend((0..200).map(|at| (format!("x-{at}").into(), b"y".to_vec()))),
            1 => self.headers.push((b"x-long".to_vec(), vec![b'x'; 100_000])),
            2 => self.target = [b"/mcp?", &vec![b'x'; 100_000][..]].concat(),
            3 => self.body = vec![b'['; 20_000],
            4 => {
                self.body =
                    format!("[{}]", vec![String::from_utf8_lossy(&self.body); 50].join(",")).into();
            }
            _ => {
                let long = "9".repeat(dice.below(5_000));
                self.body = format!(r#"{{"jsonrpc":"2.0","id":{long},"method":"ping"}}"#).into();
            }
        }
    }

    /// Puts another value at one place of the message.
    fn another_value(&mut self, dice: &mut Dice) {
        let Ok(mut message) = serde_json::from_slice::<Value>(&self.body) else { return };
        let mut place = &mut message;
        loop {
            let inner = match place {
                Value::Object(map) if !map.is_empty() => map.len(),
                Value::Array(list) if !list.is_empty() => list.len(),
                _ => break,
            };
            if dice.one_in(4) {
                break;
            }
            let next = dice.below(inner);
            place = match place {
                Value::Object(map) => map.values_mut().nth(next).expect("one of them"),
                Value::Array(list) => &mut list[next],
                _ => break,
            };
        }
        let text: String =
            char::from_u32(u32::try_from(dice.below(0x0011_0000)).unwrap_or_default())
                .map_or_else(String::new, |one| one.to_string());
        *place = match dice.below(14) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(-1),
            3 => json!(1.5),
            4 => json!(u64::MAX),
            5 => json!(""),
            6 => json!("\0"),
            7 => json!(text.repeat(1 + dice.below(2000))),
            8 => json!([]),
            9 => json!({}),
            10 => (0..100).fold(json!(1), |inner, _| json!([inner])),
            11 => (0..100).fold(json!(1), |inner, _| json!({"params": inner})),
            12 => json!({"name": "open", "arguments": {"": null}}),
            _ => json!(dice.pick(&[
                "initialize",
                "tools/call",
                "server/discover",
                "notifications/initialized",
                "resources/list",
                "subscriptions/listen",
                "logging/setLevel",
                "2024-11-05",
                REVISION,
                "open",
                "2.0",
            ])),
        };
        self.body = message.to_string().into();
    }

    /// Truncates, extends or changes the body.
    fn damage(&mut self, dice: &mut Dice) {
        let at = dice.below(self.body.len());
        match dice.below(3) {
            0 => self.body.truncate(at),
            1 => self.body.extend(dice.bytes(50)),
            _ => {
                if let Some(byte) = self.body.get_mut(at) {
                    *byte = dice.bytes(2).first().copied().unwrap_or_default();
                }
            }
        }
    }

    fn bytes(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes =
            [&self.method[..], b" ", &self.target, b" ", &self.version, b"\r\n"].concat();
        for (name, value) in &self.headers {
            bytes.extend([name, &b": "[..], value, b"\r\n"].concat());
        }
        let length = self.body.len();
        let lie = if let Framing::Lie(by) = self.framing { by } else { 0 };
        let has_length = matches!(self.framing, Framing::Length | Framing::Lie(_) | Framing::Both);
        if has_length {
            let said = length.saturating_add_signed(lie);
            bytes.extend(format!("content-length: {said}\r\n").into_bytes());
        }
        if matches!(self.framing, Framing::Chunked | Framing::BadChunks | Framing::Both) {
            bytes.extend(b"transfer-encoding: chunked\r\n");
            bytes.extend(b"\r\n");
            let half = dice.below(length);
            for part in [&self.body[..half], &self.body[half..]] {
                if !part.is_empty() {
                    bytes.extend(format!("{:x}\r\n", part.len()).into_bytes());
                    bytes.extend(part);
                    bytes.extend(b"\r\n");
                }
            }
            let end = [&b"xyz\r\n"[..], b"ffffffffffffffffff\r\n", b"-1\r\n", b"5\r\n12"];
            let bad = matches!(self.framing, Framing::BadChunks);
            bytes.extend(if bad { dice.pick(&end) } else { b"0\r\n\r\n" });
            return bytes;
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}
