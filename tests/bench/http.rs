//! Compares `countersign serve --http` with the API itself, called by the same clients.

use futures_util::future::join_all;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use std::net::SocketAddr;
use std::time::Duration;

use crate::load::api::{Api, mark, token};
use crate::load::figures::{Figures, mib, millis, number};
use crate::load::process::Process;
use crate::load::session::{Expected, Request, Session, Way};
use crate::load::wire::Connection;
use crate::machine::{Machine, USER};
use crate::{IN_FLIGHT, ONE_BY_ONE, PLAIN, TOOLS, TURNS, per_second};

/// Calls per turn, over all connections together.
const AT_ONCE: usize = 100 * IN_FLIGHT;

pub fn calls(api: &Api) {
    println!(
        "\ntools/call of an authorized tool over HTTP, {} calls on one connection",
        TURNS * ONE_BY_ONE
    );
    println!("and {} on {IN_FLIGHT}\n", TURNS * AT_ONCE);
    println!(
        "| | p50 ms | p99 ms | calls/s | calls/s, {IN_FLIGHT} connections | p99 ms, {IN_FLIGHT} \
         connections | CPU µs per call | resident MiB |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let own = Lane::direct("the API itself", api, api.address(), &runtime);
    let relayed = Lane::direct("behind a relay of bytes", api, relay(api.address()), &runtime);
    let through = Way::ALL.map(|way| Lane::through(api, way, &runtime));
    let mut lanes: Vec<Lane> = [own, relayed].into_iter().chain(through).collect();
    // Take turns, so that other load on the machine slows all lanes alike. Turn 0 is the warm-up.
    for turn in 0..=TURNS {
        for lane in &mut lanes {
            lane.turn(&runtime);
            if turn == 0 {
                lane.figures = Measured::default();
            }
        }
    }
    lanes.iter().for_each(Lane::row);
}

/// Copies bytes between clients and the API on a thread of its own. It shows what it costs on this
/// machine to wake a third party twice in each direction, before that party does any work.
fn relay(api: SocketAddr) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut server = TcpStream::connect(api).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
            }
        });
    });
    address
}

/// One way to reach the API, on `IN_FLIGHT` connections.
struct Lane {
    name: &'static str,
    clients: Vec<Client>,
    server: Option<Server>,
    figures: Measured,
}

/// The server process and the folder that it serves from.
struct Server {
    process: Process,
    _machine: Machine,
}

#[derive(Default)]
struct Measured {
    single: Figures,
    many: Figures,
    /// Calls per second, one number for each turn.
    rate: Figures,
    rate_of_many: Figures,
    /// Processor time of the server while all connections call.
    processor: Duration,
    calls: usize,
}

struct Client {
    connection: Connection,
    call: Call,
    expected: Expected,
}

enum Call {
    Direct(String),
    Through(Session, Request),
}

impl Lane {
    fn direct(name: &'static str, api: &Api, at: SocketAddr, runtime: &Runtime) -> Self {
        let clients = (0..IN_FLIGHT).map(async |_| Client {
            connection: Connection::open(at).await.unwrap(),
            call: Call::Direct(format!(
                "GET /notes HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
                api.address(),
                token(USER)
            )),
            expected: Expected::result(&mark(USER)),
        });
        let clients = runtime.block_on(join_all(clients));
        Self { name, clients, server: None, figures: Measured::default() }
    }

    fn through(api: &Api, way: Way, runtime: &Runtime) -> Self {
        let machine = Machine::new(api, TOOLS, 1);
        let process = Process::start(machine.command(&["serve", "--http", "127.0.0.1:0"]));
        let at = process.address;
        let clients = (0..IN_FLIGHT).map(async |_| {
            let mut connection = Connection::open(at).await.unwrap();
            let session = Session::open(way, at, "", &mut connection).await.unwrap();
            let request = session.call(PLAIN, r#""limit":10"#);
            let expected = Expected::result(&mark(USER));
            Client { connection, call: Call::Through(session, request), expected }
        });
        let clients = runtime.block_on(join_all(clients));
        let server = Some(Server { process, _machine: machine });
        Self { name: way.name(), clients, server, figures: Measured::default() }
    }

    fn turn(&mut self, runtime: &Runtime) {
        let Measured { single, many, rate, rate_of_many, processor, calls } = &mut self.figures;
        let began = Instant::now();
        single.join(runtime.block_on(self.clients[0].calls(ONE_BY_ONE)));
        rate.add_number(per_second(ONE_BY_ONE, began));
        let before = self.server.as_ref().map(|server| server.process.processor());
        let began = Instant::now();
        let each = self.clients.iter_mut().map(|client| client.calls(AT_ONCE / IN_FLIGHT));
        for times in runtime.block_on(join_all(each)) {
            many.join(times);
        }
        rate_of_many.add_number(per_second(AT_ONCE, began));
        let after = self.server.as_ref().map(|server| server.process.processor());
        *processor += after
            .zip(before)
            .map_or(Duration::ZERO, |(after, before)| after.saturating_sub(before));
        *calls += AT_ONCE;
    }

    fn row(&self) {
        let Measured { single, many, rate, rate_of_many, processor, calls } = &self.figures;
        let (mut each, mut resident) = (String::new(), String::new());
        if let Some(Server { process, .. }) = &self.server {
            each = format!("{:.0}", processor.as_secs_f64() * 1e6 / number(*calls));
            resident = mib(process.memory("VmRSS"));
        }
        println!(
            "| {} | {} | {} | {:.0} | {:.0} | {} | {each} | {resident} |",
            self.name,
            millis(single.at(50)),
            millis(single.at(99)),
            rate.at(50),
            rate_of_many.at(50),
            millis(many.at(99)),
        );
    }
}

impl Client {
    /// Makes `calls` calls one after the other and checks each answer.
    async fn calls(&mut self, calls: usize) -> Figures {
        let mut times = Figures::default();
        for _ in 0..calls {
            let began = Instant::now();
            self.call().await;
            times.add(began.elapsed());
        }
        times
    }

    async fn call(&mut self) {
        let Self { connection, call, expected } = self;
        match call {
            Call::Direct(request) => {
                let reply = connection.exchange(request.as_bytes()).await.unwrap();
                assert_eq!(reply.status, 200);
                assert!(reply.body.starts_with(br#"{"title":"notes of ana."#));
            }
            Call::Through(session, request) => {
                let message = session.ask(request, connection).await.unwrap();
                expected.check(&message).unwrap();
            }
        }
    }
}
