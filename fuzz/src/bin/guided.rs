//! The targets under libFuzzer, which follows the coverage. `make fuzz` builds this with instrumentation and passes
//! the target in `WAXWING_FUZZ_TARGET`; everything else on the command line is libFuzzer's.

#![no_main]

use fuzz::{Target, targets};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static CHOSEN: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("WAXWING_FUZZ_TARGET").expect("WAXWING_FUZZ_TARGET names a target");
    targets::by_name(&name).expect("`fuzz list` names the targets")
});

fuzz_target!(|input: &[u8]| {
    let _ = (CHOSEN.run)(input);
});
