//! A relay before the server, which loses answers and gives wrong ones.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The relay's treatment of one request.
pub enum Fault {
    /// The server answers, and the connection ends before the client reads any of it.
    Lost,
    /// The client gets no answer, until it hangs up.
    Silence,
    /// The client gets this answer, and the server does not see the request.
    Answer(String),
}

pub struct Relay {
    origin: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// Host and port of the server.
    server: String,
    faults: Mutex<VecDeque<Fault>>,
    requests: Mutex<Vec<String>>,
}

impl Relay {
    pub fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let server = server.trim_start_matches("http://").to_owned();
        let shared =
            Arc::new(Shared { server, faults: Mutex::default(), requests: Mutex::default() });
        let relay = Self { origin, shared: Arc::clone(&shared) };
        // The thread ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.pass(client));
            }
        });
        relay
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Treats the next requests like this, one each.
    pub fn will(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.faults.lock().unwrap().extend(faults);
    }

    /// The requests since the last look, each with head and body.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap())
    }

    /// The keys of the requests since the last look.
    pub fn idempotency_keys(&self) -> Vec<String> {
        let requests = self.requests();
        let lines = requests.iter().flat_map(|request| request.lines());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let keys = headers.filter(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
        keys.map(|(_, key)| key.to_owned()).collect()
    }
}

impl Shared {
    /// Passes one request on. Every connection ends after it.
    fn pass(&self, mut client: TcpStream) -> io::Result<()> {
        let request = self.read(&client)?;
        let fault = self.faults.lock().unwrap().pop_front();
        match &fault {
            Some(Fault::Answer(answer)) => return client.write_all(answer.as_bytes()),
            Some(Fault::Silence) => return client.read_to_end(&mut Vec::new()).map(drop),
            Some(Fault::Lost) | None => {}
        }
        let mut server = TcpStream::connect(&self.server)?;
        server.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        if fault.is_none() { client.write_all(&answer) } else { Ok(()) }
    }

    /// Reads a request, and names the server as its host.
    fn read(&self, client: &TcpStream) -> io::Result<String> {
        let mut lines = BufReader::new(client);
        let (mut request, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match name.to_ascii_lowercase().as_str() {
                "host" | "connection" => continue,
                "content-length" => length = value.trim().parse().unwrap(),
                "\r\n" => break,
                _ => {}
            }
            request.push_str(&line);
        }
        let _ = write!(request, "Host: {}\r\nConnection: close\r\n\r\n", self.server);
        let mut body = vec![0; length];
        lines.read_exact(&mut body)?;
        request.push_str(&String::from_utf8_lossy(&body));
        self.requests.lock().unwrap().push(request.clone());
        Ok(request)
    }
}
