//! Server-sent events (HTML standard §9.2.6), as far as MCP uses them.

use std::io::BufRead;

#[derive(Debug, Default)]
pub struct Event {
    /// Empty for a plain `message`.
    pub name: String,
    pub data: String,
}

/// Iterates over the events with data, until the stream ends or breaks.
pub fn events(mut body: impl BufRead) -> impl Iterator<Item = Event> {
    let mut line = String::new();
    std::iter::from_fn(move || {
        let mut event = Event::default();
        loop {
            line.clear();
            if body.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            match line.split_once(": ").or_else(|| line.split_once(':')) {
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => event.data.push_str(data),
                None if line.is_empty() && !event.data.is_empty() => return Some(event),
                // Comments keep a connection open; ids and retries are for clients that reconnect.
                _ => {}
            }
        }
    })
}
