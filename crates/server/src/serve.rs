//! `waxwing serve`: from configuration to a ready line, and from a signal to exit 0.

use crate::{
    admin_http::{self, Watched},
    admin_socket::{self, Answer, Operator, Question},
    commands::ByCore,
    config::{Config, TlsMode},
    failure::Failure,
    http::{self, Service, Transfers},
    log, tls,
    wiring::{self, Solo},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use server_core::{Core, LOOK_EVERY};
use server_edge::{Edge, EdgeLimits, HandoffLimits, Uploads, Wiring};
use server_solo::local::ConsoleTexter;
use std::{
    future::IntoFuture,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use types::{Millis, PhoneNumber};

/// How often the node looks after itself: stamps, expiry, the health of its stores.
const TICK: Duration = Duration::from_secs(1);
/// The most that a client of a stopping server is told to wait.
const RECONNECT_WITHIN: Millis = Millis::from_secs(30);
/// For calls that block (a lookup of a name, a read of a file) when everything else has ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Histograms and counters that nobody asks for are folded together this often.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// What the configuration alone can tell to be wrong.
pub fn check(config: &Config) -> Result<(), Failure> {
    if config.tls.mode == TlsMode::Off && !config.server.listen.ip().is_loopback() {
        return Err(Failure::usage(
            "plaintext_refused",
            format!("{} is not a loopback address, and TLS is off", config.server.listen),
        )
        .hint("use --tls self-signed or --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy"));
    }
    if let Some(origin) = config.server.origins.iter().find(|origin| !is_origin(origin)) {
        return Err(Failure::data("config_invalid", format!("server.origins: {origin} is not an origin"))
            .hint("an origin is scheme://host[:port] in lower case, for instance https://chat.example.org"));
    }
    Ok(())
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains('/') && !host.chars().any(char::is_uppercase))
}

/// Serves until a signal, or until a store fails.
pub fn run(config: Config) -> Result<(), Failure> {
    log::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::temporary("no_runtime", format!("cannot start: {error}")))?;
    let result = runtime.block_on(serve(config));
    // Whatever still runs has been told to stop and given its time. Its tasks are dropped before this
    // returns, and with the last of them the stores, which are closed in order.
    runtime.shutdown_timeout(CLOSE_TIMEOUT);
    result
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let metrics = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::bug(format!("metrics were started twice: {error}")))?;
    let solo = wiring::solo(&config).await?;
    let tls = tls::prepare(&config.tls, solo.data.path(), config.server.listen.ip())?;
    warn_of_open_doors(&config);

    let admin = tokio::net::TcpListener::bind(config.server.admin_listen)
        .await
        .map_err(|error| cannot_listen("admin", config.server.admin_listen, &error))?;
    let listener = server_edge::bind(config.server.listen)
        .map_err(|error| cannot_listen("public", config.server.listen, &error))?;
    let operator_socket = admin_socket::bind(solo.data.path()).map_err(|error| {
        Failure::unavailable("admin_socket", format!("cannot make the admin socket: {error}"))
    })?;

    let scheme = if config.tls.mode == TlsMode::Off { "http" } else { "https" };
    let draining = Arc::new(AtomicBool::new(false));
    let watched = Watched { core: solo.core.clone(), draining: draining.clone(), metrics: metrics.clone() };
    let admin_address =
        admin.local_addr().map_err(|error| cannot_listen("admin", config.server.admin_listen, &error))?;
    let admin_server = tokio::spawn(axum::serve(admin, admin_http::router(watched)).into_future());
    let operator = tokio::spawn(admin_socket::serve(operator_socket, Arc::new(Codes(solo.texter.clone()))));
    let edge = start_edge(&config, &solo, listener, tls.security)?;

    if let Some(fingerprint) = &tls.fingerprint {
        eprintln!("certificate fingerprint (wax register --server-pin): {fingerprint}");
    }
    eprintln!("waxwing ready: public {scheme}://{} admin http://{admin_address}", edge.address());

    let departures = tokio::spawn(look_for_departed(solo.core.clone()));
    let ended = watch(&solo, &edge, &metrics, &mut signals).await;
    departures.abort();
    draining.store(true, Ordering::Relaxed);
    let grace = Duration::from_secs(config.server.drain_seconds);
    tokio::select! {
        () = edge.stop(RECONNECT_WITHIN, grace) => {}
        () = signals.next() => tracing::warn!("a second signal: stopping at once"),
    }
    operator.abort();
    admin_server.abort();
    ended
}

/// Ends the sockets of devices that were removed. A task of its own: no other duty may delay it.
async fn look_for_departed(core: Arc<Core>) {
    let mut look = tokio::time::interval(LOOK_EVERY.as_duration());
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        core.end_departed().await;
    }
}

/// Looks after the node until a signal (`Ok`) or a failure.
async fn watch(
    solo: &Solo,
    edge: &Edge,
    metrics: &PrometheusHandle,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let mut tick = tokio::time::interval(TICK);
    let mut upkeep = tokio::time::interval(METRICS_UPKEEP);
    loop {
        tokio::select! {
            () = signals.next() => return Ok(()),
            () = edge.failed() => return Err(Failure::bug("a thread of the public listener ended")),
            _ = upkeep.tick() => metrics.run_upkeep(),
            _ = tick.tick() => {
                solo.core.tick().await;
                if solo.core.health().poisoned {
                    return Err(Failure::temporary("store_failed", "a store failed and acknowledges nothing more")
                        .hint("check the disk and the free space, then start again; nothing that was accepted is lost"));
                }
            }
        }
    }
}

fn start_edge(
    config: &Config,
    solo: &Solo,
    listener: std::net::TcpListener,
    security: server_edge::tls::Security,
) -> Result<Edge, Failure> {
    let now = || types::Timestamp::from_system_time(std::time::SystemTime::now());
    let name = config.server.name.as_str().into();
    let service = Service { core: solo.core.clone(), name, now, transfers: Transfers::default() };
    let wiring = Wiring {
        commands: Arc::new(ByCore(solo.core.clone())),
        registry: solo.registry.clone(),
        router: http::router(service),
        clock: solo.clock.clone(),
        entropy: solo.entropy.clone(),
        incarnation: solo.core.incarnation(),
        runtime: tokio::runtime::Handle::current(),
    };
    let uploads = Uploads { path_prefix: "/v1/blobs/", body_bytes_max: types::limits::BLOB_BYTES_MAX };
    let per_address_max = config.quotas.enabled.then_some(config.quotas.connections_per_address);
    let limits = EdgeLimits {
        http: HandoffLimits {
            uploads: Some(uploads),
            // Some dozens of addresses are needed for all places, and one behind which a school sits has enough.
            per_address_max: per_address_max.map(|sockets| sockets.div_ceil(4)),
            ..HandoffLimits::default()
        },
        unauthenticated_max: config.limits.unauthenticated_connections,
        per_address_max,
        ..EdgeLimits::default()
    };
    let shards = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Edge::start(listener, security, shards, limits, wiring).map_err(|error| {
        Failure::temporary("cannot_serve", format!("cannot start the public listener: {error}"))
    })
}

fn cannot_listen(which: &str, address: SocketAddr, error: &std::io::Error) -> Failure {
    let failure = Failure::unavailable(
        "port_in_use",
        format!("cannot open the {which} listener on {address}: {error}"),
    );
    match error.kind() {
        std::io::ErrorKind::AddrInUse => failure
            .hint("stop the other process, or choose another port with --listen and --admin-listen (0: any)"),
        _ => failure.hint("choose another address with --listen and --admin-listen"),
    }
}

/// What an operator should have been told before somebody else finds it.
fn warn_of_open_doors(config: &Config) {
    if !config.quotas.enabled {
        eprintln!("waxwing: WARNING: quotas are switched off; anybody who reaches this server may flood it");
        tracing::warn!("quotas are switched off");
    }
    if config.server.origins.is_empty() && !config.server.listen.ip().is_loopback() {
        tracing::warn!("server.origins is empty: a proof made for another name of this server is accepted");
    }
    if !config.server.admin_listen.ip().is_loopback() {
        tracing::warn!("the admin listener is not on loopback: anybody who reaches it reads the metrics");
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::temporary("no_signals", format!("cannot listen for signals: {error}"))
            })
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Gives pending codes to the operator.
struct Codes(Arc<ConsoleTexter>);

impl Operator for Codes {
    fn answer(&self, question: Question) -> Answer {
        let Question::Code { phone } = question;
        match phone.parse::<PhoneNumber>() {
            Err(_) => Answer::Refused("that is not a phone number".to_owned()),
            Ok(number) => match self.0.pending(&number) {
                Some(code) => Answer::Code(code.expose().clone()),
                None => Answer::Nothing,
            },
        }
    }
}
