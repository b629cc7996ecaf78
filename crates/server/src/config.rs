//! Configuration: one TOML file, `WAXWING__SECTION__KEY` from the environment over it, flags last.
//!
//! Every key has a default and a sentence ([`KEYS`]); a key that is not known is refused with the one
//! that was probably meant. `waxwing config print-default` prints what this file says.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};
use toml::{Table, Value};

/// The whole configuration of one node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it listens and keeps its data.
    pub server: Server,
    /// How the public listener is protected.
    pub tls: Tls,
    /// Who may have an account.
    pub registration: Registration,
    /// Fair use; `enabled = false` switches all of it off.
    pub quotas: Quotas,
    /// Sizes that protect the node itself.
    pub limits: Limits,
    /// What it says about itself.
    pub log: Log,
}

/// Where the node listens and keeps its data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    #[allow(missing_docs)]
    pub name: String,
    #[allow(missing_docs)]
    pub data: PathBuf,
    #[allow(missing_docs)]
    pub listen: SocketAddr,
    #[allow(missing_docs)]
    pub admin_listen: SocketAddr,
    #[allow(missing_docs)]
    pub origins: Vec<String>,
    #[allow(missing_docs)]
    pub node: u16,
    #[allow(missing_docs)]
    pub drain_seconds: u64,
}

/// How the public listener is protected.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    #[allow(missing_docs)]
    pub mode: TlsMode,
    #[allow(missing_docs)]
    pub certificate: PathBuf,
    #[allow(missing_docs)]
    pub key: PathBuf,
}

/// Where the certificate comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No TLS: only on a loopback address.
    #[default]
    Off,
    /// From PEM files.
    Files,
    /// Made by the server and kept in its data directory; clients pin its fingerprint.
    SelfSigned,
}

/// Who may have an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    #[allow(missing_docs)]
    pub strict_numbers: bool,
}

/// Fair use, per account, number or address.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Quotas {
    #[allow(missing_docs)]
    pub enabled: bool,
    #[allow(missing_docs)]
    pub messages_per_minute: u32,
    #[allow(missing_docs)]
    pub silent_per_minute: u32,
    #[allow(missing_docs)]
    pub codes_per_hour_per_number: u32,
    #[allow(missing_docs)]
    pub registrations_per_day_per_address: u32,
    #[allow(missing_docs)]
    pub new_numbers_per_day: u32,
    #[allow(missing_docs)]
    pub first_messages_per_day: u32,
    #[allow(missing_docs)]
    pub links_per_hour_per_address: u32,
    #[allow(missing_docs)]
    pub restorations_per_hour_per_address: u32,
    #[allow(missing_docs)]
    pub message_megabytes_per_hour: u32,
    #[allow(missing_docs)]
    pub new_groups_per_hour: u32,
    #[allow(missing_docs)]
    pub new_members_per_day: u32,
    #[allow(missing_docs)]
    pub group_changes_per_minute: u32,
    #[allow(missing_docs)]
    pub blob_megabytes_per_hour: u32,
    #[allow(missing_docs)]
    pub connections_per_address: u32,
}

/// Sizes that protect the node itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    #[allow(missing_docs)]
    pub connections: usize,
    #[allow(missing_docs)]
    pub unauthenticated_connections: usize,
}

/// What the node says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    #[allow(missing_docs)]
    pub level: String,
    #[allow(missing_docs)]
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: "Waxwing".to_owned(),
            data: default_data_directory(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 7701)),
            origins: Vec::new(),
            node: 1,
            drain_seconds: 30,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            enabled: true,
            messages_per_minute: 100,
            silent_per_minute: 3_000,
            codes_per_hour_per_number: 3,
            registrations_per_day_per_address: 10,
            new_numbers_per_day: 1_000,
            first_messages_per_day: 50,
            links_per_hour_per_address: 30,
            restorations_per_hour_per_address: 10,
            message_megabytes_per_hour: 64,
            new_groups_per_hour: 10,
            new_members_per_day: 2_048,
            group_changes_per_minute: 60,
            blob_megabytes_per_hour: 512,
            connections_per_address: 100,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 15_000, unauthenticated_connections: 1_000 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

/// Every key with its sentence, in the order in which `print-default` prints them.
pub const KEYS: &[(&str, &str, &str)] = &[
    ("server", "name", "What clients show as the name of this service."),
    ("server", "data", "The data directory: everything durable lives here, and one process holds its lock."),
    ("server", "listen", "Public listener. Port 0 takes any free port; the ready line says which."),
    ("server", "admin_listen", "Admin listener: /health, /ready, /metrics. Keep it on loopback."),
    (
        "server",
        "origins",
        "Origins that clients may have dialled (https://chat.example.org). Empty: whatever the Host header \
         names, which is right only where nobody else can answer for that name.",
    ),
    ("server", "node", "This node's number, part of every stamp; unique within a service (0 to 65535)."),
    ("server", "drain_seconds", "How long a stopping server waits for work in flight."),
    (
        "tls",
        "mode",
        "\"off\" (loopback only), \"files\", or \"self-signed\" (made once, kept in the data directory).",
    ),
    ("tls", "certificate", "With \"files\": the certificate chain, PEM."),
    ("tls", "key", "With \"files\": the private key, PEM."),
    (
        "registration",
        "strict_numbers",
        "Refuse numbers that the numbering plan does not have. Set it where real text messages are sent.",
    ),
    ("quotas", "enabled", "false switches every quota off. Limits that protect codes and parsers stay."),
    ("quotas", "messages_per_minute", "Messages of one account, and whatever it sends to groups."),
    ("quotas", "silent_per_minute", "Receipts, transcripts and key distributions of one account."),
    ("quotas", "codes_per_hour_per_number", "One-time codes for one number."),
    ("quotas", "registrations_per_day_per_address", "Registrations from one network address."),
    ("quotas", "new_numbers_per_day", "Numbers that one account may look up for the first time."),
    ("quotas", "first_messages_per_day", "Accounts that one account may write to for the first time."),
    ("quotas", "links_per_hour_per_address", "Link codes that devices at one network address show."),
    (
        "quotas",
        "restorations_per_hour_per_address",
        "Restorations that one network address asks for; one restore asks once or twice.",
    ),
    (
        "quotas",
        "message_megabytes_per_hour",
        "Megabytes of ciphertext that one account sends; at most 4095. A mailbox holds 512.",
    ),
    ("quotas", "new_groups_per_hour", "Groups that one account makes."),
    ("quotas", "new_members_per_day", "Strangers that one account names as members of its groups."),
    ("quotas", "group_changes_per_minute", "Changes that one account makes to groups."),
    (
        "quotas",
        "blob_megabytes_per_hour",
        "Megabytes of sealed archives that one account uploads; at most 4095.",
    ),
    (
        "quotas",
        "connections_per_address",
        "Sockets from one network address; a quarter of them for plain HTTP.",
    ),
    ("limits", "connections", "Sockets in all. Each costs about 7 KB; the open-file limit must be higher."),
    (
        "limits",
        "unauthenticated_connections",
        "Sockets that have not authenticated yet. At the bound the oldest one is dropped.",
    ),
    ("log", "level", "error, warn, info, debug or trace; or a filter such as \"info,server_edge=debug\"."),
    ("log", "format", "\"auto\" (text on a terminal, JSON elsewhere), \"json\" or \"text\"."),
];

const ENVIRONMENT_PREFIX: &str = "WAXWING__";

impl Config {
    /// Reads the file, if there is one, and lays the environment over it.
    pub fn load(
        file: Option<&std::path::Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let mut table = match file {
            None => Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Failure::data("config_unreadable", format!("cannot read {}: {error}", path.display()))
                        .hint("check the path given with --config")
                })?;
                text.parse::<Table>().map_err(|error| {
                    Failure::data("config_invalid", format!("{} is not valid TOML: {error}", path.display()))
                        .hint("`waxwing config print-default` prints a file that is")
                })?
            }
        };
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                set_from_environment(&mut table, &name, key, &value)?;
            }
        }
        refuse_unknown_keys(&table)?;
        Value::Table(table).try_into::<Self>().map_err(|error| {
            Failure::data("config_invalid", format!("the configuration is not valid: {}", error.message()))
                .hint("`waxwing config print-default` shows every key with its default")
        })
    }

    /// The default configuration as a commented TOML file.
    pub fn print_default() -> String {
        let defaults = default_table();
        let mut text = String::from(
            "# Waxwing, every key with its default. Keys can also be set by WAXWING__SECTION__KEY in the\n\
             # environment, and some by flags, which win.\n",
        );
        let mut section_before = "";
        for (section, key, sentence) in KEYS {
            if section_before != *section {
                text.push_str(&format!("\n[{section}]\n"));
                section_before = section;
            }
            for line in wrap(sentence, 100) {
                text.push_str(&format!("# {line}\n"));
            }
            let value = lookup(&defaults, section, key).expect("a test checks that every key has a default");
            text.push_str(&format!("{key} = {value}\n"));
        }
        text
    }
}

fn default_data_directory() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| PathBuf::from("waxwing-data"), |data| data.join("waxwing"))
}

fn default_table() -> Table {
    Table::try_from(Config::default()).expect("the default configuration is a table of plain values")
}

fn lookup<'a>(table: &'a Table, section: &str, key: &str) -> Option<&'a Value> {
    table.get(section)?.as_table()?.get(key)
}

/// Sets one key from its environment variable, read as the type that its default has.
fn set_from_environment(table: &mut Table, name: &str, key: &str, value: &str) -> Result<(), Failure> {
    let lower = key.to_lowercase();
    let (section, key) = lower.split_once("__").unwrap_or((&lower, ""));
    let defaults = default_table();
    let Some(default) = lookup(&defaults, section, key) else {
        return Err(unknown_key(name, &format!("{section}.{key}"), |near| {
            format!("{ENVIRONMENT_PREFIX}{}", near.replace('.', "__").to_uppercase())
        }));
    };
    let invalid = |wanted: &str| {
        Failure::data("config_invalid", format!("{name} should be {wanted}"))
            .hint("`waxwing config print-default` shows every key with its default")
    };
    let value = match default {
        Value::Boolean(_) => Value::Boolean(value.parse().map_err(|_| invalid("true or false"))?),
        Value::Integer(_) => Value::Integer(value.parse().map_err(|_| invalid("a whole number"))?),
        Value::Array(_) => Value::Array(
            value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect(),
        ),
        _ => Value::String(value.to_owned()),
    };
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().ok_or_else(|| invalid("a key of a section"))?.insert(key.to_owned(), value);
    Ok(())
}

fn refuse_unknown_keys(table: &Table) -> Result<(), Failure> {
    for (section, keys) in table {
        let Some(keys) = keys.as_table() else {
            return Err(unknown_key(section, section, |near| near.to_owned()));
        };
        if !KEYS.iter().any(|(known, ..)| known == section) {
            return Err(unknown_key(section, section, |near| near.to_owned()));
        }
        for key in keys.keys() {
            let full = format!("{section}.{key}");
            if !KEYS.iter().any(|(s, k, _)| s == section && k == key) {
                return Err(unknown_key(&full, &full, |near| near.to_owned()));
            }
        }
    }
    Ok(())
}

fn unknown_key(shown: &str, key: &str, spell: impl Fn(&str) -> String) -> Failure {
    let known = KEYS.iter().map(|(section, key, _)| format!("{section}.{key}"));
    let nearest = known
        .map(|candidate| (strsim::damerau_levenshtein(&candidate, key), candidate))
        .min()
        .filter(|(distance, _)| *distance <= 6);
    let failure = Failure::data("config_unknown_key", format!("unknown configuration key: {shown}"));
    match nearest {
        Some((_, near)) => failure.hint(format!("did you mean {}?", spell(&near))),
        None => failure.hint("`waxwing config print-default` shows every key"),
    }
}

fn wrap(sentence: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in sentence.split_whitespace() {
        let line = lines.last_mut().expect("there is always one line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("waxwing.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file), environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn every_key_has_a_default_and_a_sentence() {
        let mut documented: Vec<_> = KEYS.iter().map(|(s, k, _)| format!("{s}.{k}")).collect();
        let mut existing: Vec<_> = default_table()
            .iter()
            .flat_map(|(section, keys)| {
                keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}"))
            })
            .collect();
        documented.sort();
        existing.sort();
        assert_eq!(documented, existing);
    }

    #[test]
    fn the_printed_default_is_the_default() {
        let printed: Table = Config::print_default().parse().unwrap();
        assert_eq!(printed, default_table());
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config =
            load("[server]\nnode = 3\n[quotas]\nenabled = true\n", &[("WAXWING__QUOTAS__ENABLED", "false")]);
        let config = config.unwrap();
        assert_eq!((config.server.node, config.quotas.enabled), (3, false));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
        let failure = load("[server]\nlitsen = \"127.0.0.1:0\"\n", &[]).unwrap_err();
        assert_eq!(
            (failure.code, failure.hint.as_str()),
            ("config_unknown_key", "did you mean server.listen?")
        );
        let failure = load("", &[("WAXWING__QUOTA__ENABLED", "false")]).unwrap_err();
        assert_eq!(failure.hint, "did you mean WAXWING__QUOTAS__ENABLED?");
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        assert_eq!(load("[server]\nnode = \"one\"\n", &[]).unwrap_err().code, "config_invalid");
        assert_eq!(load("", &[("WAXWING__QUOTAS__ENABLED", "maybe")]).unwrap_err().code, "config_invalid");
    }
}
