//! A conversation of two people through a server that is killed in the middle.
//!
//! It plays with the programs as a person has them: `waxwing` on a free port with a directory of its own, `wax` with a
//! profile for each of the two. Every step states what must have happened, and the first that did not ends the play
//! with an error. Whatever was started is stopped, and what was written is deleted, however it ends.

mod person;
mod server;
mod stage;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{command::release_program, repository::Repository};
use person::{Person, State};
use server::Server;
pub use stage::Stage;

/// What Ada and Ben say, in the order in which both must see it at the end.
const LINES: [&str; 6] = [
    "Are you there?",
    "Always. How is the hide?",
    "Cold. Nine waxwings in the rowan.",
    "Ten. One of them is looking at me.",
    "It passed a berry to the next one.",
    "I am coming over. Keep them there.",
];

/// How long a command without a server may try; a person would wait longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Plays the conversation.
pub fn play(repository: &Repository, stage: &mut Stage) -> Result<()> {
    let waxwing = release_program(repository, "waxwing")?;
    let wax = release_program(repository, "wax")?;
    let folder = TempDir::with_prefix("waxwing-demo-").context("no temporary directory can be made")?;

    stage.title("Waxwing: a conversation that outlives its server")?;
    let mut server = Server::start(&waxwing, &folder.path().join("server"))?;
    stage.say(&format!("The server runs: one process, one directory, {}", server.url()))?;
    let ended = converse(&mut server, &wax, folder.path(), stage);
    if ended.is_err() {
        stage.say(&format!("The server's log ends with:\n{}", server.log_end()))?;
    }
    ended?;
    folder.close().context("the temporary directory cannot be deleted")?;
    stage.say("The server stopped as it was asked to, and everything this play wrote is deleted.")
}

fn converse(server: &mut Server, wax: &Path, folder: &Path, stage: &mut Stage) -> Result<()> {
    stage.scene("Two people get accounts")?;
    let ada = Person::new("Ada", "+15552000100", wax, folder);
    let ben = Person::new("Ben", "+15552000101", wax, folder);
    for person in [&ada, &ben] {
        let code = person.ask_for_code(server)?;
        person.register(server, &code)?;
        stage.says(person.name(), &format!("is {}: proved by the code {code}", person.phone()))?;
    }
    ensure!(ada.safety_number(&ben)? == ben.safety_number(&ada)?, "the two see different safety numbers");
    stage.say("Both see the same safety number, so nobody sits between them.")?;

    talk(&ada, &ben, stage)?;
    let waiting = lose_the_server(server, &ada, &ben, stage)?;
    find_everything(server, &ada, &ben, &waiting, stage)?;
    look_at_the_server(server, &ada, &ben, stage)?;
    server.stop()
}

/// One message each way, with every tick.
fn talk(ada: &Person, ben: &Person, stage: &mut Stage) -> Result<()> {
    stage.scene("They talk")?;
    for (from, to, text) in [(ada, ben, LINES[0]), (ben, ada, LINES[1])] {
        let message = from.send(to, text, State::Accepted)?;
        stage.message(from.name(), text, State::Accepted, "on the server's disk")?;
        expect_texts(to, &[text])?;
        from.receive()?;
        from.expect_state(&message, State::Delivered)?;
        stage.message(from.name(), text, State::Delivered, &format!("on {}'s disk", to.name()))?;
        to.read(from)?;
        from.receive()?;
        from.expect_state(&message, State::Read)?;
        stage.message(from.name(), text, State::Read, &format!("{} has seen it", to.name()))?;
    }
    Ok(())
}

/// Ben is away, the server dies, and Ada goes on. Gives the message that waits in her outbox.
fn lose_the_server(server: &mut Server, ada: &Person, ben: &Person, stage: &mut Stage) -> Result<String> {
    stage.scene("Ben closes his laptop, and the server dies")?;
    for text in [LINES[2], LINES[3]] {
        ada.send(ben, text, State::Accepted)?;
        stage.message(ada.name(), text, State::Accepted, "Ben is away; his mailbox has it")?;
    }
    server.kill()?;
    stage.alarm("kill -9: the server had no time to say anything, or to save anything")?;
    let waiting = ada.send_within(ben, LINES[4], PATIENCE, State::Queued)?;
    stage.message(ada.name(), LINES[4], State::Queued, "nobody answers; it waits in her outbox")?;
    Ok(waiting)
}

/// The server is back on the same port with the same directory.
fn find_everything(
    server: &mut Server,
    ada: &Person,
    ben: &Person,
    waiting: &str,
    stage: &mut Stage,
) -> Result<()> {
    stage.scene("The server is started again, and nothing is missing")?;
    server.start_again()?;
    stage.say(&format!("It is back at {} with the directory it had", server.url()))?;
    expect_texts(ben, &[LINES[2], LINES[3]])?;
    stage.says(ben.name(), "opens his laptop: both messages are there, once and in order")?;
    ada.receive()?;
    ada.expect_state(waiting, State::Accepted)?;
    stage.message(ada.name(), LINES[4], State::Accepted, "left her outbox by itself")?;
    expect_texts(ben, &[LINES[4]])?;
    let answer = ben.send(ada, LINES[5], State::Accepted)?;
    stage.message(ben.name(), LINES[5], State::Accepted, "on the server's disk")?;
    expect_texts(ada, &[LINES[5]])?;
    ada.expect_state(waiting, State::Delivered)?;
    ada.read(ben)?;
    ben.receive()?;
    ben.expect_state(&answer, State::Read)?;
    stage.message(ben.name(), LINES[5], State::Read, "Ada has seen it")?;
    for (person, other) in [(ada, ben), (ben, ada)] {
        let history = person.history(other)?;
        ensure!(history == LINES, "{} sees {history:?}", person.name());
    }
    stage.say("Both see the same six messages in the same order.")
}

/// The server's directory after the conversation: nothing of it, in any byte.
fn look_at_the_server(server: &Server, ada: &Person, ben: &Person, stage: &mut Stage) -> Result<()> {
    stage.scene("What the server knows of it")?;
    let (mut bytes, mut numbers) = (0, 0);
    for (path, content) in files(server.data())? {
        bytes += content.len();
        for line in LINES {
            ensure!(!contains(&content, line), "{} holds a message in the clear", path.display());
        }
        numbers += [ada, ben].iter().filter(|person| contains(&content, person.phone())).count();
    }
    ensure!(numbers > 0, "the server's directory holds no number, so the search proves nothing");
    stage.say(&format!("{bytes} bytes: who they are, and not one word of what they said."))
}

/// That exactly these messages come, and in this order.
fn expect_texts(person: &Person, texts: &[&str]) -> Result<()> {
    let came = person.receive()?;
    ensure!(came == texts, "{} should have received {texts:?}, and received {came:?}", person.name());
    Ok(())
}

fn contains(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Every file below a folder. Sockets are none.
fn files(folder: &Path) -> Result<Vec<(std::path::PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            let content = fs::read(entry.path());
            found.push((
                entry.path(),
                content.with_context(|| format!("{} cannot be read", entry.path().display()))?,
            ));
        }
    }
    Ok(found)
}
