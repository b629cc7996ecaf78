//! No byte that the server received or stored holds a text or a private key, and no line of its log a number.

use crate::{
    node::Node,
    person::{Person, settle},
    proxy::{Carried, Proxy},
    witness::Witness,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use std::path::Path;
use testkit::{canary::Canaries, history::Fact};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_plaintext_reaches_the_server() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(&data.path().join("data"));
    let proxy = Proxy::start(node.public()).await;
    let witness = Witness::new();
    let people = vec![
        Person::register(&node, &proxy.origin(), 30, &witness).await,
        Person::register(&node, &proxy.origin(), 31, &witness).await,
    ];
    people[0].find(&people[1]).await;
    people[1].find(&people[0]).await;
    let mut canaries = Canaries::default();
    for line in 0..20 {
        let text = format!("canary {line}: the magpie sings at {line} past noon");
        canaries.add(format!("text {line}"), text.as_bytes());
        people[line % 2].write(&people[1 - line % 2], &text).await;
    }
    settle(&people, &witness).await;
    let mut tokens = Canaries::default();
    for (number, person) in people.iter().enumerate() {
        let secrets = person.secrets();
        for key in &secrets.keys {
            assert_eq!(key.len(), 32);
            canaries.add(format!("a key of person {number}"), key);
            canaries.add(format!("a key of person {number}"), BASE64.encode(key).as_bytes());
        }
        tokens.add(format!("token {number}"), &secrets.token);
    }

    // The controls: the search finds what is there, also inside the masked frames of clients.
    assert_eq!(canaries.find_in(b"..canary 3: the magpie sings at 3 past noon.."), ["text 3"]);
    let carried: Vec<Vec<u8>> = proxy.carried().iter().map(Carried::said).collect();
    for token in ["token 0", "token 1"] {
        assert!(carried.iter().any(|said| tokens.find_in(said).contains(&token)), "{token} was not seen");
    }
    let mut bytes = 0;
    let mut search = |place: &str, content: &[u8]| {
        bytes += content.len() as u64;
        for canary in canaries.find_in(content) {
            witness.note(Fact::CanaryFound { canary: canary.to_owned(), place: place.to_owned() });
        }
    };
    for said in &carried {
        search("a connection", said);
    }
    each_file(node.data(), &mut search);
    let ended = {
        node.signal(rustix::process::Signal::TERM);
        node.wait()
    };
    search("the log", ended.said.as_bytes());
    for person in &people {
        assert!(!ended.said.contains(person.phone.e164()), "a phone number reached the log");
    }
    assert!(bytes > 50_000, "only {bytes} bytes were searched");
    witness.note(Fact::CanariesSought { bytes });
    witness.assert_all_is_well();
}

fn each_file(folder: &Path, search: &mut impl FnMut(&str, &[u8])) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, search);
        } else if path.is_file() {
            search(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}
