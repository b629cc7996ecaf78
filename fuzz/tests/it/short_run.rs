//! A bounded, seeded run of every target.

use fuzz::{campaign, corpus, targets};

/// Any number; a fixed one, so that a failure here is a failure everywhere.
const SEED: u64 = 0x7a78_7769_6e67;

fn short_run(name: &str) {
    let target = targets::by_name(name).unwrap();
    let corpus: Vec<Vec<u8>> = corpus::read(target).unwrap().into_iter().map(|(_, input)| input).collect();
    let summary = campaign::run_bounded(target, &corpus, SEED, target.short_runs)
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(summary.runs >= u64::from(target.short_runs), "{name} stopped early");
    assert!(summary.accepted >= 1, "{name} accepted nothing, so only refusals were tried");
    assert!(!summary.reasons.is_empty(), "{name} refused nothing, so nothing was changed");
}

/// One test a target, so that they run beside each other and a failure has its target's name.
macro_rules! short_runs {
    ($($name:ident)*) => {
        $(#[test] fn $name() { short_run(stringify!($name)); })*

        #[test]
        fn every_target_has_a_short_run() {
            let here = [$(stringify!($name)),*];
            let all: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
            assert_eq!(here.as_slice(), all);
        }
    };
}

short_runs! {
    wire_client_frame
    wire_server_frame
    wire_envelope
    wire_key_upload
    signed_device_list
    signed_device_list_inside
    signed_certificate
    signed_certificate_inside
    signed_group_operation
    signed_group_operation_inside
    signed_link_offer
    seal_guard
    seal_padding
    seal_content
    seal_held_content
    seal_decrypt
    seal_distribution
    seal_bundle
    seal_link_code
    seal_link_message
    seal_link_body
    seal_link_state
    seal_archive_part
    seal_backup
    seal_device_names
    seal_group_info
    seal_typed_secrets
    edge_http_head
    edge_websocket
    edge_connection
    edge_tls
    client_answer
    client_connection
    server_registration
    server_link_offer
    server_link_poll
    server_link_answer
    server_restoration
    server_blob_address
    server_config
    text_ids
}
