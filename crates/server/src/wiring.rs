//! Which adapter stands behind each port: decided here, once, at start.

use crate::{
    config::{Config, Quotas},
    failure::Failure,
};
use server_core::{Allowance, Core, Origins, Ports};
use server_edge::Registry;
use server_ports::{Clock, Directory, Entropy, Exchange, NodeInbox, StoreError};
use server_solo::{
    OpenError,
    files::{DataDir, FileBlobs},
    local::{ConsoleTexter, LocalExchange, QuietPusher, SystemClock, SystemEntropy},
    redb::RedbMailboxes,
    sqlite::SqliteDirectory,
};
use std::sync::Arc;
use types::{Millis, NodeId};

/// One process that is a whole service.
pub(crate) struct Solo {
    pub(crate) core: Arc<Core>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) texter: Arc<ConsoleTexter>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Held until everything else is gone.
    pub(crate) data: DataDir,
}

/// Opens the stores of a data directory and puts the roles over them.
pub(crate) async fn solo(config: &Config) -> Result<Solo, Failure> {
    let data = DataDir::open(&config.server.data).map_err(|error| cannot_open(&error))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let directory =
        SqliteDirectory::open(&data.directory(), &entropy).map_err(|error| cannot_open(&error))?;
    let mailboxes = RedbMailboxes::open(&data.mailboxes()).map_err(|error| cannot_open(&error))?;
    let exchange = Arc::new(LocalExchange::new());
    let texter = Arc::new(ConsoleTexter::new());
    let node = NodeId(config.server.node);
    let registry = Registry::new();
    exchange.subscribe(node, registry.clone() as Arc<dyn NodeInbox>);
    let service = directory.service().await.map_err(|error| cannot_start(&error))?;
    let blobs = FileBlobs::open(&data.blobs(), &service).map_err(|error| cannot_open(&error))?;
    let directory = Arc::new(directory);
    let ports = Ports {
        directory: directory.clone(),
        groups: directory,
        blobs: Arc::new(blobs),
        mailboxes: Arc::new(mailboxes),
        exchange,
        pusher: Arc::new(QuietPusher),
        texter: texter.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let core = Core::start(ports, core_config(config)).await.map_err(|error| cannot_start(&error))?;
    Ok(Solo { core: Arc::new(core), registry, texter, clock, entropy, data })
}

fn core_config(config: &Config) -> server_core::Config {
    let mut core = server_core::Config::new(NodeId(config.server.node));
    if !config.server.origins.is_empty() {
        core.origins = Origins::These(config.server.origins.iter().cloned().collect());
    }
    core.strict_numbers = config.registration.strict_numbers;
    core.quotas = quotas(&config.quotas);
    core
}

fn quotas(configured: &Quotas) -> server_core::Quotas {
    let of = |limit, window| Allowance { limit, window };
    server_core::Quotas {
        enabled: configured.enabled,
        messages: of(configured.messages_per_minute, Millis::from_mins(1)),
        silent: of(configured.silent_per_minute, Millis::from_mins(1)),
        codes_per_number: of(configured.codes_per_hour_per_number, Millis::from_hours(1)),
        registrations_per_address: of(configured.registrations_per_day_per_address, Millis::from_days(1)),
        new_numbers: of(configured.new_numbers_per_day, Millis::from_days(1)),
        first_messages: of(configured.first_messages_per_day, Millis::from_days(1)),
        links_per_address: of(configured.links_per_hour_per_address, Millis::from_hours(1)),
        restorations_per_address: of(configured.restorations_per_hour_per_address, Millis::from_hours(1)),
        message_bytes: of(megabytes(configured.message_megabytes_per_hour), Millis::from_hours(1)),
        new_members: of(configured.new_members_per_day, Millis::from_days(1)),
        new_groups: of(configured.new_groups_per_hour, Millis::from_hours(1)),
        group_changes: of(configured.group_changes_per_minute, Millis::from_mins(1)),
        blob_bytes: of(megabytes(configured.blob_megabytes_per_hour), Millis::from_hours(1)),
        ..server_core::Quotas::default()
    }
}

fn megabytes(count: u32) -> u32 {
    count.saturating_mul(1024 * 1024)
}

fn cannot_open(error: &OpenError) -> Failure {
    let message = error.to_string();
    match error {
        OpenError::InUse(_) => Failure::unavailable("data_in_use", message)
            .hint("stop the other server, or choose another directory with --data"),
        OpenError::NotADataDirectory(_) => {
            Failure::unavailable("data_unusable", message).hint("choose an empty directory with --data")
        }
        OpenError::NewerFormat { .. } => {
            Failure::data("data_newer", message).hint("start the newer version of waxwing that wrote it")
        }
        OpenError::Damaged { .. } => Failure::data("data_damaged", message)
            .hint("check the disk, then restore a backup; the file was not changed"),
        OpenError::Io { .. } => Failure::temporary("io", message)
            .hint("check the path given with --data, its permissions and the free space, then start again"),
    }
}

fn cannot_start(error: &StoreError) -> Failure {
    Failure::temporary("store_failed", format!("a store failed at start: {error}"))
        .hint("check the disk and the free space, then start again; nothing that was accepted is lost")
}
