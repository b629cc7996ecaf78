//! The promise that a node gives no stamp above.

use super::*;

pub(super) async fn a_promise_is_kept_and_never_lowered(mail: Mail<'_>) {
    let reserved =
        async |mail: Mail<'_>, node| mail.port().reserved_stamps(NodeId(node)).await.expect("readable");
    assert_eq!(reserved(mail, 1).await, 0, "no promise yet");
    for (clock, expected) in [(500, 500), (400, 500), (u64::MAX, u64::MAX), (1, u64::MAX)] {
        mail.port().reserve_stamps(NodeId(1), clock).await.expect("a promise is taken");
        mail.reopen().await;
        assert_eq!(reserved(mail, 1).await, expected);
        assert_eq!(reserved(mail, 2).await, 0, "each node has its own");
    }
    assert_eq!(mail.port().health(), Ok(()));
}
